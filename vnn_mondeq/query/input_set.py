"""Sets of inputs by name: what the rest of the package imports.

Boxes, Lq balls, half-spaces and quadratic sets, and their intersections. All but quadratic sets
are convex.
"""

from vnn_mondeq.query.abstract_set import AbstractInputSet as AbstractInputSet
from vnn_mondeq.query.ball import LqBall as LqBall
from vnn_mondeq.query.box import Box as Box
from vnn_mondeq.query.half_space import HalfSpace as HalfSpace
from vnn_mondeq.query.intersection import Intersection as Intersection
from vnn_mondeq.query.quadratic import Quadratic as Quadratic
