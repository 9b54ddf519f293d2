"""Names of the transforms, and of their combinations (arXiv 2006.06676, section 2.3); no TensorFlow."""

_BLIT = ("xflip", "rotate90", "xint")
_GEOM = ("scale", "rotate", "aniso", "xfrac")
_COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
_FILTER = ("imgfilter",)
_NOISE = ("noise",)
_CUTOUT = ("cutout",)

#: {name of a pipe: its transforms}, with the paper's names.
PIPES = {
    "blit": _BLIT,
    "geom": _GEOM,
    "color": _COLOR,
    "filter": _FILTER,
    "noise": _NOISE,
    "cutout": _CUTOUT,
    "bg": _BLIT + _GEOM,
    "bgc": _BLIT + _GEOM + _COLOR,
    "bgcf": _BLIT + _GEOM + _COLOR + _FILTER,
    "bgcfn": _BLIT + _GEOM + _COLOR + _FILTER + _NOISE,
    "bgcfnc": _BLIT + _GEOM + _COLOR + _FILTER + _NOISE + _CUTOUT,
}
#: The paper's best pipe, which is the default.
PIPE = "bgc"
