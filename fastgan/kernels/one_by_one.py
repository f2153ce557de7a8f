"""For backends without a kernel for a whole chain of layers: it goes layer by layer."""


def mlp(*_: object, **__: object) -> None:
    return None


def mlp_backward(*_: object, **__: object) -> None:
    return None
