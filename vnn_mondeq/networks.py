"""The networks of a query with their model files: one system, and one runtime for witnesses.

A query about one model is paired with it as it is. Anything else is put together here: several
networks side by side over the inputs that they share, hidden tensors as further outputs, and norm
networks, whose bound has become a ball (`vnn_mondeq.query.norm`) and which are only replayed.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.errors import MismatchError
from vnn_mondeq.pieces import in_pieces
from vnn_mondeq.problem import Problem
from vnn_mondeq.query.norm import NormNetwork, resolve_norms
from vnn_mondeq.query.query import Query, Variable
from vnn_mondeq.statement import check_fit, input_hull, state_problem
from vnn_mondeq.system.implicit import ImplicitSystem, dense_system
from vnn_mondeq.system.side_by_side import side_by_side

if TYPE_CHECKING:
    from vnn_mondeq.onnx_io import LoadedModel
    from vnn_mondeq.onnx_io.hidden import ShowingReplay
    from vnn_mondeq.onnx_io.replay import Replay


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoadedNorm:
    """A norm network's file: what it computes, and a runtime that computes it."""

    network: NormNetwork
    runtime: "Replay"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Stated:
    """A query's problem and what the gate needs to replay a witness.

    - `element_type`: of all models, in ONNX lower case.
    - `open_runtime`: the runtime with the inputs and outputs of `problem.system`, opened at first
      use.
    - `problem_on`: the same problem with the models compiled for a box of inputs
      (`LoadedModel.on_box`).
    - `bent`: the same problem with curves relaxed more closely and at the price of neurons; `None`
      where the models have none.
    """

    problem: Problem
    element_type: str
    open_runtime: Callable[[], "Replay | ShowingReplay | JointReplay"]
    problem_on: Callable[[np.ndarray, np.ndarray], Problem]
    bent: Callable[[], Problem] | None = None


def state(query: Query, networks: "Mapping[str, LoadedModel | LoadedNorm]") -> Stated:
    """Pair a query with a network for each of `query.all_networks`.

    **Raises** `MismatchError` where they do not fit, `QueryError` for numbers beyond float64.
    """
    missing = [name for name in query.all_networks if name not in networks]
    if missing:
        raise MismatchError(
            f"network {missing[0]!r} has no model file; give one with "
            f"--network {missing[0]}=FILE.onnx"
        )
    members = [Member.of(query, name, networks[name]) for name in query.all_networks]
    models = [member.network for member in members if not isinstance(member.network, LoadedNorm)]
    kinds = {model.element_type for model in models}
    if len(kinds) != 1:
        raise MismatchError(
            f"the networks compute in different element types ({', '.join(sorted(kinds))}); export "
            "them in one"
        )
    element_type = kinds.pop()
    for member in members:
        member.check_fit(query, element_type)
    norms = {m.name: m.network.network for m in members if isinstance(m.network, LoadedNorm)}
    resolved = resolve_norms(query, norms)

    def problem_on(lower: np.ndarray, upper: np.ndarray, *, knots: bool = False) -> Problem:
        parts = [member.on_box(lower, upper, knots=knots) for member in members]
        return state_problem(_system(resolved, parts), pieces, element_type)

    system, bent = _system(resolved, members), None
    if system.auxiliary_size:
        hull = input_hull(resolved)
        system = _system(resolved, [member.on_box(*hull, knots=False) for member in members])

        def bent() -> Problem:
            return problem_on(*hull, knots=True)

    pieces = in_pieces(system, resolved, element_type)
    problem = state_problem(system, pieces, element_type)
    alone = models[0].open_runtime if query.is_about_one_model else None
    # Once: opening sessions takes longer than running them, and many points may be replayed.
    open_runtime = functools.cache(alone or (lambda: JointReplay(members)))
    return Stated(problem, element_type, open_runtime, problem_on, bent)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One network of a query.

    - `inputs`, `outputs`: its variables; hidden tensors come after the outputs.
    - `places`: where its flattened inputs stand among the query's.
    """

    name: str
    network: "LoadedModel | LoadedNorm"
    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    places: np.ndarray

    @classmethod
    def of(cls, query: Query, name: str, network: "LoadedModel | LoadedNorm") -> "Member":
        own = [variable for variable in query.variables if variable.network == name]
        inputs = tuple(variable for variable in own if variable.kind == "input")
        outputs = sorted((v for v in own if v.kind != "input"), key=lambda v: v.start)
        places = [np.array(v.places, dtype=np.intp) for v in inputs]
        return cls(name, network, inputs, tuple(outputs), np.concatenate(places))

    def check_fit(self, query: Query, element_type: str) -> None:
        """**Raises** `MismatchError`."""
        variables = (*self.inputs, *self.outputs)
        if isinstance(self.network, LoadedNorm):
            runtime = self.network.runtime
            if runtime.element_types != {element_type}:
                raise MismatchError(
                    f"norm network {self.name!r} computes in "
                    f"{', '.join(sorted(runtime.element_types))}, and the model in {element_type}"
                )
            check_fit(query, variables, runtime.inputs, runtime.outputs, element_type)
            return
        model = self.network
        check_fit(query, variables, model.inputs, model.outputs, element_type, model.output_types)
        for variable in self.outputs:
            if variable.kind == "hidden" and model.hidden[variable.node] != variable.shape:
                raise MismatchError(
                    f"the query declares the hidden tensor {variable.name} with shape "
                    f"{list(variable.shape)}, but {variable.node!r} has "
                    f"{list(model.hidden[variable.node])}"
                )

    def on_box(self, lower: np.ndarray, upper: np.ndarray, *, knots: bool) -> "Member":
        """The member with its model compiled for a box of the query's inputs."""
        if isinstance(self.network, LoadedNorm):
            return self
        network = self.network.on_box(lower[self.places], upper[self.places], knots=knots)
        return dataclasses.replace(self, network=network)

    def rows(self) -> np.ndarray:
        """Which outputs of the system are those of the member: a model that several networks share
        may show hidden tensors of all of them."""
        if isinstance(self.network, LoadedNorm):
            return np.arange(sum(len(variable.places) for variable in self.outputs))
        starts, start = {}, 0
        for name, shape in self.network.system.outputs.items():
            starts[name], start = range(start, start + math.prod(shape)), start + math.prod(shape)
        keys = [*self.network.outputs, *map(self.network.hidden_output, self._nodes())]
        return np.concatenate([np.array(starts[key], dtype=np.intp) for key in keys])

    def _nodes(self) -> list[str]:
        return [variable.node for variable in self.outputs if variable.kind == "hidden"]

    def values(self, found: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The member's tensors among those that its session computes, one for each variable."""
        if isinstance(self.network, LoadedNorm):
            return list(found.values())
        values = [found[name] for name in self.network.outputs]
        if len(values) != sum(variable.kind == "output" for variable in self.outputs):
            # VNN-LIB 1.0 numbers the elements of all outputs in one go.
            values = [np.concatenate([value.reshape(-1) for value in values])]
        return values + [found[self.network.hidden_output(node)] for node in self._nodes()]

    def system(self) -> ImplicitSystem:
        """The model's system; of a norm network one that says nothing, since its bound is a set."""
        if not isinstance(self.network, LoadedNorm):
            return self.network.system
        d, q = self.places.size, sum(len(variable.places) for variable in self.outputs)
        nothing = np.zeros((0, d))
        return dense_system(np.zeros((0, 0)), nothing, np.zeros(0), np.zeros((q, 0)), np.zeros(q))


def _system(query: Query, members: Sequence[Member]) -> ImplicitSystem:
    """The system of all members; that of the model itself where the query is about one."""
    if query.is_about_one_model:
        return members[0].system()
    # One object for one model: a network and its twin at the same inputs are computed once.
    systems: dict[int, ImplicitSystem] = {}
    for member in members:
        systems.setdefault(id(member.network), member.system())
    return side_by_side(
        [systems[id(member.network)] for member in members],
        [member.places for member in members],
        query.input_count,
        {v.name: v.shape for member in members for v in member.outputs},
        [member.rows() for member in members],
    )


@final
class JointReplay:
    """All networks of a query in their own sessions. Implements `vnn_mondeq.gate.Runtime`.

    **Raises** `ModelError` when onnxruntime cannot load a model.
    """

    def __init__(self, members: Sequence[Member]):
        self._sessions = [(member, _open(member.network)) for member in members]
        self.runtime = self._sessions[0][1].runtime

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output and hidden variable by its name, for the query's inputs `(d,)`.

        **Raises** `ModelError` when the runtime fails.
        """
        (point,) = inputs.values()
        found: dict[str, np.ndarray] = {}
        for member, session in self._sessions:
            own, start = {}, 0
            for name, shape in session.inputs.items():
                stop = start + int(np.prod(shape, dtype=np.int64))
                own[name] = point[member.places[start:stop]].reshape(shape)
                start = stop
            values = member.values(session.run(own))
            for variable, value in zip(member.outputs, values, strict=True):
                found[variable.name] = np.asarray(value).reshape(variable.shape)
        return found


def _open(network: "LoadedModel | LoadedNorm") -> "Replay":
    return network.runtime if isinstance(network, LoadedNorm) else network.open_runtime()
