"""Every key of a config, its default and its meaning, in one place."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.config.encodings import check_encoding
from flowcli.config.limits import MOST_THREADS
from flowcli.transforms.catalogue import CONDITIONER, Entry, Order, Parameter, Split, TransformerChoice
from flowcli.transforms.registry import entries

# Far beyond what is of use: a mistake, or a file that means no good.
MOST_HIDDEN = 16
MOST_TRANSFORMS = 1000
MOST_MEMBERS = 100
MOST_CUTS = 20
MOST_FOLDS = 20
MOST_NAMES = 100_000
MOST_STEPS = 10**9
# What a checkpoint holds of each of them must fit into its header.
MOST_EPOCHS = 100_000
# Each of them is checked.
MOST_SEARCHED, MOST_CHOICES = 50, 100


class Section(BaseModel):
    """A mapping in which unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _field(parameter: Parameter) -> Any:
    """The type of a transform's parameter with its range, for pydantic."""
    limits = Field(ge=parameter.minimum, le=parameter.maximum)
    if parameter.type == list[int]:
        return Annotated[list[Annotated[int, limits]], Field(max_length=MOST_HIDDEN)]
    if parameter.type in (int, float):
        return Annotated[parameter.type, limits]
    if parameter.type is TransformerChoice:
        return Transformer
    if parameter.type == Order:
        words, positions = get_args(Order)
        return words | Annotated[positions, Field(max_length=MOST_NAMES), AfterValidator(_each_once)]
    if parameter.type == Split:
        words, names = get_args(Split)
        return words | Annotated[names, Field(max_length=MOST_NAMES), AfterValidator(_different)]
    return parameter.type


def _each_once(order: list[int]) -> list[int]:
    if not order or sorted(order) != list(range(1, len(order) + 1)):
        raise ValueError("an order holds the position of each column, from 1, once")
    return order


def _different(names: list[str]) -> list[str]:
    if not names:
        raise ValueError("names at least one column")
    twice = _twice(names)
    if twice:
        raise ValueError(f"names {twice[0]!r} twice")
    return names


def _twice(names: list[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def parameters_model(entry: Entry, without: tuple[Parameter, ...] = ()) -> type[Section]:
    """The schema of one transform's parameters, made from its entry in the catalogue."""
    fields: dict[str, Any] = {}
    for parameter in entry.parameters:
        if parameter not in without:
            default = Field(default=parameter.default, description=parameter.doc, validate_default=True)
            fields[parameter.name] = (_field(parameter), default)
    return create_model(entry.name, __base__=Section, __doc__=entry.summary, **fields)


class Choice(Section):
    """One entry of a catalogue with its parameters: a mapping with a single key, its name, or the name alone."""

    # What an entry is called, what is said of a value that is none, and of one that holds several.
    noun: ClassVar[str] = "choice"
    neither: ClassVar[str] = "write one name, or 'name: {parameters}'"
    several: ClassVar[str] = neither
    # Whether an entry without parameters is written as its name.
    shortens: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            if len(value) != 1:
                raise ValueError(cls.several)
            return {name: {} if parameters is None else parameters for name, parameters in value.items()}
        raise ValueError(cls.neither)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What the validator above takes: one name, or a mapping with one key."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        mapping |= {"minProperties": 1, "maxProperties": 1}
        names = [name for name in mapping["properties"] if name != "chain"]
        return {"anyOf": [{"enum": names}, mapping]}

    @model_serializer
    def _only_the_one(self) -> Any:
        parameters = self.parameters.model_dump()
        return {self.name: parameters} if parameters or not self.shortens else self.name

    @property
    def name(self) -> str:
        """Which entry this is."""
        return next(iter(self.model_fields_set))

    @property
    def parameters(self) -> BaseModel:
        """Its parameters, defaults filled in."""
        parameters: BaseModel = getattr(self, self.name)
        return parameters


class TransformBase(Choice):
    """One step of a chain."""

    noun: ClassVar[str] = "transform"
    neither: ClassVar[str] = "a step of the chain is a transform's name, or 'name: {parameters}'"
    several: ClassVar[str] = "a step of the chain is one transform: start each with '- '"
    shortens: ClassVar[bool] = False


class TransformerBase(Choice):
    """An elementwise transform in a conditioner."""

    noun: ClassVar[str] = "elementwise transform"
    shortens: ClassVar[bool] = False


Transformer: type[TransformerBase] = create_model(
    "Transformer",
    __base__=TransformerBase,
    __doc__="An elementwise transform, whose parameters come from a network.",
    **{
        name: (parameters_model(entry, without=CONDITIONER) | None, None)
        for name, entry in entries().items()
        if entry.transformer
    },
)  # type: ignore[call-overload]


class BaseBase(Choice):
    """A base distribution."""

    noun: ClassVar[str] = "base"


class LabelBase(Choice):
    """A model of label columns."""

    noun: ClassVar[str] = "model of labels"


class OrdinalBase(Choice):
    """A model of ordinal columns."""

    noun: ClassVar[str] = "model of ordinals"


def _choice(name: str, kind: type[Choice], catalogue: tuple[Entry, ...]) -> type[Choice]:
    fields: dict[str, Any] = {entry.name: (parameters_model(entry) | None, None) for entry in catalogue}
    return create_model(name, __base__=kind, __doc__=kind.__doc__, **fields)


if TYPE_CHECKING:
    BaseChoice = BaseBase
    LabelChoice = LabelBase
    OrdinalChoice = OrdinalBase
else:
    BaseChoice = _choice("BaseChoice", BaseBase, BASES)
    LabelChoice = _choice("LabelChoice", LabelBase, LABEL_MODELS)
    OrdinalChoice = _choice("OrdinalChoice", OrdinalBase, ORDINAL_MODELS)

REPEAT = Field(default=1, ge=1, le=MOST_TRANSFORMS, description="how many times the list of transforms is repeated")
TRANSFORMS = Field(max_length=MOST_TRANSFORMS, description="from base to data; see 'flowcli transforms'")


class Chain(Section):
    """Transforms one after the other, from base to data, ``repeat`` times."""

    repeat: int = REPEAT
    transforms: list[Transform] = TRANSFORMS

    @model_validator(mode="after")
    def _not_too_many(self) -> Chain:
        _count_transforms(self)
        return self


if TYPE_CHECKING:
    Transform = TransformBase
else:
    Transform = create_model(
        "Transform",
        __base__=TransformBase,
        **{name: (parameters_model(entry) | None, None) for name, entry in entries().items()},
        chain=(Chain | None, Field(default=None, description="a chain within the chain, with its own repeat")),
    )
Chain.model_rebuild()


class Part(Section):
    """A base distribution and a chain of transforms for the numbers, and models of labels and ordinals."""

    base: BaseChoice = Field(default="normal", validate_default=True, description="distribution of the latent z")
    repeat: int = REPEAT
    transforms: Annotated[list[Transform], Field(max_length=MOST_TRANSFORMS)] | None = Field(
        default=None, description=TRANSFORMS.description
    )
    heavy_tails: Literal["mapped", "kept"] = Field(
        default="mapped", description="columns with heavy tails: mapped by arcsinh, or kept as they are"
    )
    labels: LabelChoice = Field(default="softmax", validate_default=True, description="model of the label columns")
    ordinals: OrdinalChoice = Field(
        default="integer_flow", validate_default=True, description="model of the ordinal columns"
    )

    @model_validator(mode="after")
    def _domains_meet(self) -> Part:
        """The base's domain is that of the first transform, and every other transform acts on all real numbers."""
        _count_transforms(self)
        names = transform_names(self)
        if self.base.name == "uniform" and names[:1] != ["logit"]:
            raise ValueError("base 'uniform' lives on the unit cube: the first transform must be logit")
        expected = 1 if self.base.name == "uniform" else 0
        if sum(name in _UNIT for name in names) != expected:
            raise ValueError("logit leads out of the unit cube: it stands once, first, with base 'uniform'")
        return self


def _count_transforms(chain: Part | Chain) -> int:
    """How many transforms a chain has, those within it and its repeats counted.

    Raises:
        ValueError: too many.
    """
    parameters = [transform.parameters for transform in chain.transforms or []]
    count = chain.repeat * sum(_count_transforms(inner) if isinstance(inner, Chain) else 1 for inner in parameters)
    if count > MOST_TRANSFORMS:
        raise ValueError(f"{count:,} transforms with all repeats: at most {MOST_TRANSFORMS:,}; lower repeat")
    return count


_UNIT = [name for name, entry in entries().items() if entry.domain == "unit"]


def transform_names(chain: Part | Chain) -> list[str]:
    """The names of all transforms, from base to data."""
    once: list[str] = []
    for transform in chain.transforms or []:
        inner = transform.parameters
        once += transform_names(inner) if isinstance(inner, Chain) else [transform.name]
    return once * min(chain.repeat, 2)  # twice says all that more would


class Factor(Part):
    """One factor of a joint density, ``p(columns | given)``."""

    columns: list[str] = Field(max_length=MOST_NAMES, description="the columns of this factor")
    given: list[str] = Field(
        default_factory=list,
        max_length=MOST_NAMES,
        description="what it is given: columns of other factors, and context columns",
    )

    @model_serializer
    def _columns_first(self) -> dict[str, Any]:
        return {key: _dumped(getattr(self, key)) for key in ("columns", "given", *Part.model_fields)}


class Member(Part):
    """One density of a mixture, over all columns, in so many copies that start, and learn, a little differently."""

    copies: int = Field(default=1, ge=1, le=MOST_MEMBERS, description="how many of it there are")
    epochs: int | None = Field(
        default=None,
        ge=0,
        le=MOST_EPOCHS,
        description="passes over its training rows at most; 0: it stays as it starts, null: train.epochs",
    )

    @property
    def summary(self) -> str:
        """What it is, in some words."""
        names = list(dict.fromkeys(transform_names(self)))
        words = (
            [", ".join([f"{self.repeat} x {names[0]}" if self.repeat > 1 else names[0], *names[1:]])] if names else []
        )
        if self.base.name != "normal" or not names:
            values = self.base.parameters.model_dump()
            size = f" of {values['components']}" if "components" in values else ""
            words.append(f"{self.base.name}{size}")
        return " on ".join(words) + (", heavy tails kept" if self.heavy_tails == "kept" else "")

    @model_validator(mode="after")
    def _has_transforms(self) -> Member:
        if self.transforms is None:
            raise ValueError("needs transforms; [] for none")
        return self

    @model_serializer
    def _copies_first(self) -> dict[str, Any]:
        return {key: _dumped(getattr(self, key)) for key in ("copies", "epochs", *Part.model_fields)}


class FlowConfig(Part):
    """The architecture: one flow over all columns (its transforms chosen if left out), factors, or a mixture."""

    factors: list[Factor] | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="a product p(a) p(b | a) ...: groups of columns, their parents, and each one's flow",
    )

    mixture: list[Member] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_MEMBERS,
        description="a mixture of densities, weighted by how likely they find rows that they have not learned from",
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> FlowConfig:
        if self.factors is None and self.mixture is None:
            if self.transforms is None and self.repeat > 1:
                raise ValueError("repeat needs transforms to repeat")
            return self
        if self.factors is not None and self.mixture is not None:
            raise ValueError("factors and mixture exclude each other")
        what, each = ("factors", "factor") if self.factors is not None else ("mixture", "member")
        own = [key for key in Part.model_fields if getattr(self, key) != getattr(_PLAIN, key)]
        if own:
            raise ValueError(f"next to {what} there is no {', '.join(own)}: each {each} has its own")
        parts = self.factors or self.mixture or []
        count = sum(_count_transforms(part) * (part.copies if isinstance(part, Member) else 1) for part in parts)
        if count > MOST_TRANSFORMS:
            raise ValueError(f"{count:,} transforms in all {each}s: at most {MOST_TRANSFORMS:,}")
        if self.factors is not None:
            check_factors(self.factors)
        elif sum(member.copies for member in self.mixture or []) > MOST_MEMBERS:
            raise ValueError(f"more than {MOST_MEMBERS} members, copies counted")
        return self

    @model_serializer
    def _what_is_there(self) -> dict[str, Any]:
        if self.factors is not None:
            return {"factors": [factor.model_dump() for factor in self.factors]}
        if self.mixture is not None:
            return {"mixture": [member.model_dump() for member in self.mixture]}
        return {key: _dumped(getattr(self, key)) for key in Part.model_fields}


_PLAIN = Part()


def _dumped(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return [_dumped(item) for item in value] if isinstance(value, list) else value


def _named(factor: Factor) -> str:
    return "+".join(factor.columns)


def check_factors(factors: list[Factor]) -> list[int]:
    """The factors' numbers in an order in which each comes after its parents.

    Raises:
        ValueError: there is none, a column is in two factors, or factors are each other's ancestors; the cycle
            is named.
    """
    home: dict[str, int] = {}
    for number, factor in enumerate(factors):
        if not factor.columns:
            raise ValueError(f"factor {number + 1} has no columns")
        twice = _twice(factor.given)
        if twice:
            raise ValueError(f"factor {_named(factor)} is given {twice[0]!r} twice")
        for column in factor.columns:
            if column in home:
                where = "in two factors" if home[column] != number else "twice in one factor"
                raise ValueError(f"column {column!r} is {where}")
            home[column] = number
    order: list[int] = []
    way: list[int] = []

    def visit(number: int) -> None:
        if number in order:
            return
        if number in way:
            cycle = [*way[way.index(number) :], number]
            steps = " <- ".join(_named(factors[n]) for n in cycle)
            raise ValueError(f"factors are given each other in a cycle: {steps}")
        way.append(number)
        for column in factors[number].given:
            if column in home:
                visit(home[column])
        way.pop()
        order.append(number)

    for number in range(len(factors)):
        visit(number)
    return order


class TrainConfig(Section):
    """Maximum likelihood by stochastic gradient descent."""

    optimizer: Literal["adam", "adamw"] = Field(default="adamw", description="adamw decouples weight_decay")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="its peak, after the warm-up; null: 0.002, or chosen with the flow"
    )
    weight_decay: float | None = Field(
        default=None, ge=0, le=10, description="pull of the networks to the identity; null: chosen by the rows"
    )
    noise: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="normal noise on the training numbers, in standard deviations; null: chosen by the rows",
    )
    average: float = Field(
        default=0.98, ge=0, lt=1, description="the model's weights are a moving average with this memory; 0: the last"
    )
    folds: int | None = Field(
        default=None,
        ge=1,
        le=MOST_FOLDS,
        description="of a mixture: each member leaves out another of so many parts of the training rows, which decides "
        "when it stops; 1: all learn from all rows, and data.validation decides; null: chosen by the rows",
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=MOST_STEPS, description="rows in a step; null: chosen by the rows"
    )
    epochs: int | None = Field(
        default=None,
        ge=0,
        le=MOST_EPOCHS,
        description="passes over the training rows at most; 0 trains nothing, null: 400, or chosen with the flow",
    )
    warmup: int = Field(
        default=50, ge=0, le=MOST_STEPS, description="steps in which the learning rate rises to its peak"
    )
    decay: Literal["cosine", "none"] = Field(
        default="cosine", description="how the learning rate falls after the warm-up"
    )
    clip_norm: float = Field(default=5.0, gt=0, description="the gradient's norm is cut to this")
    patience: int | None = Field(
        default=None,
        ge=1,
        le=MOST_STEPS,
        description="stop after so many epochs without a better validation likelihood; null: 50, or by the flow",
    )
    cuts: int | None = Field(
        default=None,
        ge=0,
        le=MOST_CUTS,
        description="rather than stop, go back so often to the best weights, with 0.3 of the learning rate; null: 0, "
        "or by the flow",
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="whether steps are compiled, which takes a minute: auto does it for long fits, not on a single GPU",
    )
    max_time: Annotated[
        float | None,
        Field(gt=0),
        WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}, {"type": "null"}]}),
    ] = Field(default=None, description="how long a fit may take, as 90s, 10m or 1.5h; null: no limit")

    threads: int | None = Field(
        default=None,
        ge=1,
        le=MOST_THREADS,
        description="processor threads that compute a step, on which the weights' last bits can depend; null: "
        "as OMP_NUM_THREADS says, else 1 on the command line",
    )

    @field_validator("max_time", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return parse_duration(value) if isinstance(value, str) else value


Share = Annotated[float, Field(ge=0, lt=1)]


ColumnKind = Literal["number", "continuous", "integer", "date", "label", "ordinal"]
COLUMN_KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)


class ColumnConfig(Section):
    """What a column is; a kind alone is short for a mapping with it."""

    kind: ColumnKind | None = Field(
        default=None,
        description="number: its grid and spikes are found; continuous: it has none; integer: whole numbers; "
        "ordinal: whole numbers, each with a probability",
    )
    lower: Annotated[float, Field(allow_inf_nan=False)] | None = Field(default=None, description="no value is below it")
    upper: Annotated[float, Field(allow_inf_nan=False)] | None = Field(default=None, description="no value is above it")
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        default=None, description="the grid that the values were rounded to"
    )
    spikes: list[Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=list, max_length=1000, description="values with a probability of their own, like 0"
    )
    unit: Annotated[str, Field(min_length=1, max_length=40)] | None = Field(
        default=None, description="what its numbers are in, like mm; for pictures"
    )

    @model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sound(self) -> ColumnConfig:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError("lower is not below upper")
        numeric = [key for key in ("lower", "upper", "step") if getattr(self, key) is not None]
        numeric += ["spikes"] if self.spikes else []
        if numeric and self.kind in ("date", "label", "ordinal"):
            raise ValueError(f"{numeric[0]} is of number columns, and kind is {self.kind}")
        if self.unit is not None and self.kind in ("date", "label"):
            raise ValueError(f"unit is of number and ordinal columns, and kind is {self.kind}")
        if self.step is not None and self.kind == "continuous":
            raise ValueError("a continuous column has no step")
        return self

    @property
    def tells_kind(self) -> bool:
        """Whether the column is not left to be inferred: a unit alone says nothing of it."""
        return self != ColumnConfig(unit=self.unit)

    @model_serializer
    def _what_is_said(self) -> Any:
        said = {key: getattr(self, key) for key in type(self).model_fields if getattr(self, key) not in (None, [])}
        return said["kind"] if list(said) == ["kind"] else said


class DataConfig(Section):
    """Which columns and rows take part, and how."""

    context: list[str] = Field(
        default_factory=list,
        max_length=MOST_NAMES,
        description="columns that are given, not modelled: p(others | context)",
    )
    drop: list[str] = Field(default_factory=list, max_length=MOST_NAMES, description="columns that are left out")
    kinds: dict[str, ColumnConfig] = Field(
        default_factory=dict,
        description="what columns are, where that is not to be inferred, as {code: label, share: {lower: 0, upper: 1}}",
    )
    plain: bool = Field(
        default=False, description="numbers as they are: no bounds, heavy tails or spikes are looked for"
    )
    missing: Literal["model", "drop", "impute", "error"] = Field(
        default="model",
        description="missing cells: modelled, too; or their rows dropped; or filled with the median or commonest label",
    )
    validation: Share | str | None = Field(
        default=None,
        description="share of the rows, or a file, that decides when to stop; null: a tenth, or none with train.folds",
    )
    test: Share | str = Field(default=0.1, description="share of the rows, or a file, for the final score")
    encoding: Annotated[str, AfterValidator(check_encoding)] = Field(
        default="utf-8", description="of CSV, TSV and JSON lines; latin-1, say"
    )


def label(choice: Any) -> str:
    """A choice of a search as one word or a line of JSON."""
    return choice if isinstance(choice, str) else json.dumps(choice, ensure_ascii=False)


class Tried(Section):
    """What ``flowcli tune`` tries for a key: a list of values, or numbers from ``low`` to ``high``."""

    choices: list[Any] | None = Field(
        default=None, max_length=MOST_CHOICES, description="each of these; the list alone will do"
    )
    low: int | float | None = Field(default=None, description="the least; with a whole high, whole numbers are tried")
    high: int | float | None = Field(default=None, description="the most")
    log: bool = Field(default=False, description="whether their logarithms are spread evenly")

    @model_validator(mode="before")
    @classmethod
    def _list_alone(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"choices": value}
        if isinstance(value, dict):
            return value
        raise ValueError("write a list of values, or {low: 1, high: 8}, with log: true for a logarithmic scale")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Tried:
        if self.choices is not None:
            if self.model_fields_set != {"choices"}:
                raise ValueError("next to choices there is no low, high or log")
            twice = _twice([label(choice) for choice in self.choices])
            if not self.choices or twice:
                raise ValueError(f"the list has {twice[0]} twice" if twice else "the list is empty")
            return self
        if self.low is None or self.high is None:
            raise ValueError(
                f"{'low' if self.low is None else 'high'} is missing: write {{low: 1, high: 8}}, or a list"
            )
        if self.low >= self.high:
            raise ValueError("low is not below high")
        if self.log and self.low <= 0:
            raise ValueError("log needs a low above 0")
        return self

    @model_serializer
    def _as_written(self) -> Any:
        if self.choices is not None:
            return self.choices
        return {"low": self.low, "high": self.high, **({"log": True} if self.log else {})}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What the validators above take."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        del mapping["properties"]["choices"]
        number = {"type": "number"}
        mapping["properties"] |= {"low": number, "high": number}
        return {"anyOf": [{"type": "array", "minItems": 1}, {**mapping, "required": ["low", "high"]}]}

    def values(self) -> list[Any]:
        """All choices, or both ends."""
        return [self.low, self.high] if self.choices is None else self.choices


class Config(Section):
    """A whole config. Without ``flow``, one is chosen by the number of rows and columns."""

    flow: FlowConfig | None = Field(default=None, description="the architecture; null: chosen for the table")
    train: TrainConfig = Field(default_factory=TrainConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    seed: int = Field(default=0, ge=0, lt=2**63, description="fixes the split, the start and the batches")
    tune: dict[str, Tried | None] = Field(
        default_factory=dict,
        max_length=MOST_SEARCHED,
        description="what 'flowcli tune' tries, as {train.learning_rate: {low: 1e-4, high: 1e-2, log: true}, "
        "flow.repeat: [1, 2, 3]}; null: not this key",
    )

    @model_serializer(mode="wrap")
    def _without_an_empty_search(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {key: value for key, value in dumped.items() if key != "tune" or value}


def setting_keys() -> list[str]:
    """The dotted keys that do not depend on the architecture, for completion."""
    keys = ["seed", *(f"flow.{key}" for key in ("base", "repeat", "labels", "ordinals"))]
    for name, section in (("train", TrainConfig), ("data", DataConfig)):
        keys += [f"{name}.{key}" for key in section.model_fields]
    return keys


def setting_values(key: str) -> list[str]:
    """What a key can be set to, where that is one of a few words, for completion."""
    catalogues = {"flow.base": BASES, "flow.labels": LABEL_MODELS, "flow.ordinals": ORDINAL_MODELS}
    if key in catalogues:
        return [entry.name for entry in catalogues[key]]
    section, _, name = key.partition(".")
    sections: dict[str, type[Section]] = {"train": TrainConfig, "data": DataConfig}
    if section not in sections or name not in sections[section].model_fields:
        return []
    kind = sections[section].model_fields[name].annotation
    return ["true", "false"] if kind is bool else list(get_args(kind)) if get_origin(kind) is Literal else []


def parse_duration(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``10m``, ``1.5h`` or ``2d``.

    Raises:
        ValueError: the text is none of these.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)([smhd]?)", text)
    if not match or not math.isfinite(float(match[1])):
        raise ValueError("a time is a number of seconds, or like 90s, 10m, 1.5h, 2d")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
