"""The base distributions and the models of labels and ordinals, as plain data: no torch here.

A builder is called as ``builder(features, context_features, **parameters)``; for labels, with their
cardinalities in place of ``features``, and for ordinals, with a centre and a scale of each.
"""

from __future__ import annotations

from flowcli.transforms.catalogue import CONDITIONER, Entry, Parameter

COMPONENTS = Parameter("components", int, 8, "number of components", 1, 1000)
HIDDEN = Parameter("hidden", list[int], [64], "widths of the network's hidden layers", 1, 8192)
LAYERS = Parameter("layers", int, 4, "number of layers of the flow", 1, 100)

BASES: tuple[Entry, ...] = (
    Entry(
        name="conditional_gaussian_mixture",
        part="base",
        summary="a mixture density network: weights, means and covariances of the mixture from the context",
        formula="p(z | y) = sum over k of w_k(y) N(z; m_k(y), C_k(y))",
        reference="Bishop 1994",
        builder="flowcli.flows.gaussian_mixture:GaussianMixture",
        parameters=(COMPONENTS, *CONDITIONER),
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="conditional_normal",
        part="base",
        summary="independent normals, with location and scale from the context",
        formula="p(z | y) = N(z; m(y), diag(s(y)^2))",
        reference="Winkler, Worrall, Hoogeboom & Welling 2019, section 3.1",
        builder="flowcli.flows.base:Normal",
        parameters=CONDITIONER,
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="conditional_student_t",
        part="base",
        summary="independent Student-t variables; degrees of freedom, location and scale from the context",
        formula="p(z | y) = product over k of t(z_k; df_k(y), m_k(y), s_k(y))",
        reference="Laszkiewicz, Lederer & Fischer 2022",
        builder="flowcli.flows.base:StudentT",
        parameters=CONDITIONER,
        takes_context=True,
        skips_absent=True,
    ),
    Entry(
        name="gaussian_mixture",
        part="base",
        summary="a learned mixture of normals, for data in separate clumps",
        formula="p(z) = sum over k of w_k N(z; m_k, C_k)",
        reference="Izmailov, Kirichenko, Finzi & Wilson 2020",
        builder="flowcli.flows.gaussian_mixture:GaussianMixture",
        parameters=(COMPONENTS,),
        skips_absent=True,
    ),
    Entry(
        name="normal",
        part="base",
        summary="independent standard normals",
        formula="p(z) = N(z; 0, I)",
        reference="the usual choice",
        builder="flowcli.flows.base:Normal",
        skips_absent=True,
    ),
    Entry(
        name="student_t",
        part="base",
        summary="independent Student-t variables with learned degrees of freedom, for heavy tails",
        formula="p(z) = product over k of t(z_k; df_k)",
        reference="Alexanderson & Henter 2020; Jaini, Kobyzev, Yu & Brubaker 2020",
        builder="flowcli.flows.base:StudentT",
        skips_absent=True,
    ),
    Entry(
        name="uniform",
        part="base",
        summary="uniform on the unit cube; the first transform is then logit, which leads out of it",
        formula="p(z) = 1 on (0, 1)^d",
        reference="Papamakarios et al. 2021, section 2.2",
        builder="flowcli.flows.base:Uniform",
        domain="unit",
        skips_absent=True,
    ),
)

LABEL_MODELS: tuple[Entry, ...] = (
    Entry(
        name="modular_flow",
        part="labels",
        summary="discrete flow: labels shifted around their circle, given those before; straight-through gradients",
        formula="z_k = (x_k - mu_k(x_<k, y)) mod K_k in each layer; p(x | y) = product over k of p_k(z_k | y)",
        reference="Tran, Vafa, Agrawal, Dinh & Poole 2019, section 4",
        builder="flowcli.flows.modular_flow:ModularFlow",
        sampling_cost="d passes",
        parameters=(
            Parameter("layers", int, 2, "number of layers; the order turns round between them", 1, 100),
            *CONDITIONER,
            Parameter("temperature", float, 0.1, "of the softmax that lends the shift its gradient", 0.001, 10.0),
        ),
        takes_context=True,
    ),
    Entry(
        name="softmax",
        part="labels",
        summary="one label after the other, each a softmax given those before",
        formula="p(x | y) = product over k of softmax(f_k(x_<k, y))[x_k]",
        reference="Bengio & Bengio 2000",
        builder="flowcli.flows.softmax:AutoregressiveSoftmax",
        sampling_cost="d passes",
        parameters=(HIDDEN, CONDITIONER[1]),
        takes_context=True,
    ),
)

ORDINAL_MODELS: tuple[Entry, ...] = (
    Entry(
        name="integer_flow",
        part="ordinals",
        summary="integer discrete flow: whole numbers shifted by rounded networks of the others",
        formula="z_rest = x_rest - round(t(x_kept, y)) in each layer; p(z_k) a mixture of discretised logistics",
        reference="Hoogeboom, Peters, van den Berg & Welling 2019",
        builder="flowcli.flows.integer_flow:IntegerFlow",
        parameters=(
            LAYERS,
            Parameter("components", int, 5, "number of logistics in the mixture of each column", 1, 100),
            *CONDITIONER,
        ),
        takes_context=True,
    ),
)
