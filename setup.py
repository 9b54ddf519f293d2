"""Wheel tags, which pyproject.toml cannot express: one platform if native operations are built, any Python 3."""

from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

HAS_LIBRARY = any(Path(__file__).with_name("sg3tf").glob("ops/lib/*.so"))


class PlatformWheel(bdist_wheel):
    """Tagged py3-none-PLATFORM where the library is built, else py3-none-any."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class MaybeNative(Distribution):
    """Not pure where the library is built."""

    def has_ext_modules(self) -> bool:
        return HAS_LIBRARY


setup(distclass=MaybeNative, cmdclass={"bdist_wheel": PlatformWheel})
