"""Every key of a config, its default and its meaning, in one place."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from flowcli.transforms.catalogue import CONDITIONER, Entry, Order, Parameter, TransformerChoice
from flowcli.transforms.registry import entries


class Section(BaseModel):
    """A mapping in which unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _field(parameter: Parameter) -> Any:
    """The type of a transform's parameter with its range, for pydantic."""
    limits = Field(ge=parameter.minimum, le=parameter.maximum)
    if parameter.type == list[int]:
        return list[Annotated[int, limits]]
    if parameter.type in (int, float):
        return Annotated[parameter.type, limits]
    if parameter.type is TransformerChoice:
        return Transformer
    if parameter.type == Order:
        words, positions = get_args(Order)
        return words | Annotated[positions, AfterValidator(_each_once)]
    return parameter.type


def _each_once(order: list[int]) -> list[int]:
    if not order or sorted(order) != list(range(1, len(order) + 1)):
        raise ValueError("an order holds the position of each column, from 1, once")
    return order


def parameters_model(entry: Entry, without: tuple[Parameter, ...] = ()) -> type[Section]:
    """The schema of one transform's parameters, made from its entry in the catalogue."""
    fields: dict[str, Any] = {}
    for parameter in entry.parameters:
        if parameter not in without:
            default = Field(default=parameter.default, description=parameter.doc, validate_default=True)
            fields[parameter.name] = (_field(parameter), default)
    return create_model(entry.name, __base__=Section, __doc__=entry.summary, **fields)


class TransformBase(Section):
    """One step of a chain: a mapping with a single key, the transform's name, or the name alone."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            if len(value) != 1:
                raise ValueError("a step of the chain is one transform: start each with '- '")
            return {name: {} if parameters is None else parameters for name, parameters in value.items()}
        raise ValueError("a step of the chain is a transform's name, or 'name: {parameters}'")

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What the validator above takes: one name, or a mapping with one key."""
        mapping = handler.resolve_ref_schema(handler(core_schema))
        mapping |= {"minProperties": 1, "maxProperties": 1}
        names = [name for name in mapping["properties"] if name != "chain"]
        return {"anyOf": [{"enum": names}, mapping]}

    @model_serializer
    def _only_the_one(self) -> dict[str, Any]:
        return {self.name: self.parameters.model_dump()}

    @property
    def name(self) -> str:
        """Which transform this is."""
        return next(iter(self.model_fields_set))

    @property
    def parameters(self) -> BaseModel:
        """Its parameters, defaults filled in."""
        parameters: BaseModel = getattr(self, self.name)
        return parameters


Transformer: type[TransformBase] = create_model(
    "Transformer",
    __base__=TransformBase,
    __doc__="An elementwise transform, whose parameters come from a network.",
    **{
        name: (parameters_model(entry, without=CONDITIONER) | None, None)
        for name, entry in entries().items()
        if entry.transformer
    },
)  # type: ignore[call-overload]

REPEAT = Field(default=1, ge=1, le=1000, description="how many times the list of transforms is repeated")
TRANSFORMS = Field(description="from base to data; see 'flowcli transforms'")


class Chain(Section):
    """Transforms one after the other, from base to data, ``repeat`` times."""

    repeat: int = REPEAT
    transforms: list[Transform] = TRANSFORMS


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


class FlowConfig(Section):
    """The architecture: a base distribution and a chain of transforms."""

    base: Literal["normal"] = Field(default="normal", description="distribution of the latent z")
    repeat: int = REPEAT
    transforms: list[Transform] = TRANSFORMS


class TrainConfig(Section):
    """Maximum likelihood by stochastic gradient descent."""

    optimizer: Literal["adam", "adamw"] = Field(default="adamw", description="adamw decouples weight_decay")
    learning_rate: float = Field(default=2e-3, gt=0, le=1, description="its peak, after the warm-up")
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
    batch_size: int | None = Field(default=None, ge=1, description="rows in a step; null: chosen by the rows")
    epochs: int = Field(default=400, ge=0, description="passes over the training rows at most; 0 trains nothing")
    warmup: int = Field(default=50, ge=0, description="steps in which the learning rate rises to its peak")
    decay: Literal["cosine", "none"] = Field(
        default="cosine", description="how the learning rate falls after the warm-up"
    )
    clip_norm: float = Field(default=5.0, gt=0, description="the gradient's norm is cut to this")
    patience: int = Field(
        default=50, ge=1, description="stop after this many epochs without a better validation likelihood"
    )
    max_time: Annotated[
        float | None,
        Field(gt=0),
        WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}, {"type": "null"}]}),
    ] = Field(default=None, description="how long training may take, as 90s, 10m or 1.5h; null: no limit")

    @field_validator("max_time", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        return parse_duration(value) if isinstance(value, str) else value


Share = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(Section):
    """Which columns and rows take part, and how."""

    context: list[str] = Field(
        default_factory=list, description="columns that are given, not modelled: p(others | context)"
    )
    drop: list[str] = Field(default_factory=list, description="columns that are left out")
    validation: Share | str = Field(default=0.1, description="share of the rows, or a file, that decides when to stop")
    test: Share | str = Field(default=0.1, description="share of the rows, or a file, for the final score")


class Config(Section):
    """A whole config. Without ``flow``, one is chosen by the number of rows and columns."""

    flow: FlowConfig | None = Field(default=None, description="the architecture; null: chosen for the table")
    train: TrainConfig = Field(default_factory=TrainConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    seed: int = Field(default=0, ge=0, lt=2**63, description="fixes the split, the start and the batches")


def setting_keys() -> list[str]:
    """The dotted keys that do not depend on the architecture, for completion."""
    keys = ["seed", "flow.base", "flow.repeat"]
    for name, section in (("train", TrainConfig), ("data", DataConfig)):
        keys += [f"{name}.{key}" for key in section.model_fields]
    return keys


def parse_duration(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``10m``, ``1.5h`` or ``2d``.

    Raises:
        ValueError: the text is none of these.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)([smhd]?)", text)
    if not match or not math.isfinite(float(match[1])):
        raise ValueError("a time is a number of seconds, or like 90s, 10m, 1.5h, 2d")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]
