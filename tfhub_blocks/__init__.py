"""Pretrained TensorFlow Hub models as stable building blocks of Azure ML pipelines.

``records`` is what steps hand each other, ``compute`` what runs inside a step, ``control`` what
runs beside the workspace. Importing this package imports none of them.
"""

__version__ = "0.1.0"
