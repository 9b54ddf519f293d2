"""How arrays of other people's networks are laid out, and which of our variables they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # who only reads files needs no Keras
    import keras

Array = NDArray[Any]


class Layout(NamedTuple):
    """How the axes of an array are turned into ours, and back."""

    ours: Callable[[Array], Array]
    theirs: Callable[[Array], Array]


SAME = Layout(np.asarray, np.asarray)
#: Official name, our variable, and how one becomes the other.
Parameter: TypeAlias = "tuple[str, keras.Variable, Layout]"
