"""The papers that the catalogue names in short."""

from __future__ import annotations

REFERENCES = {
    "Alexanderson & Henter 2020": "Robust model training and generalisation with Studentising flows, arXiv:2006.06599",
    "Bengio & Bengio 2000": "Modeling high-dimensional discrete data with multi-layer neural networks, NIPS 12",
    "Bishop 1994": "Mixture density networks, Aston University NCRG/94/004",
    "Chen et al. 2018": "Neural ordinary differential equations, arXiv:1806.07366",
    "De Cao, Aziz & Titov 2019": "Block neural autoregressive flow, arXiv:1904.04676",
    "Dinh, Krueger & Bengio 2015": "NICE: non-linear independent components estimation, arXiv:1410.8516",
    "Dinh, Sohl-Dickstein & Bengio 2017": "Density estimation using Real NVP, arXiv:1605.08803",
    "Dolatabadi, Erfani & Leckie 2020": "Invertible generative modeling using linear rational splines, "
    "arXiv:2001.05168",
    "Durkan et al. 2019": "Neural spline flows, arXiv:1906.04032",
    "Givens 1958": "Computation of plane unitary rotations transforming a general matrix to triangular form, "
    "Journal of the Society for Industrial and Applied Mathematics 6",
    "Golinski, Lezcano-Casado & Rainforth 2019": "Improving normalizing flows via better orthogonal parameterizations, "
    "INNF workshop at ICML",
    "Grathwohl et al. 2019": "FFJORD: free-form continuous dynamics for scalable reversible generative models, "
    "arXiv:1810.01367",
    "Hoogeboom, Peters, van den Berg & Welling 2019": "Integer discrete flows and lossless compression, "
    "arXiv:1905.07376",
    "Huang, Lacoste, Krueger & Courville 2018": "Neural autoregressive flows, arXiv:1804.00779",
    "Izmailov, Kirichenko, Finzi & Wilson 2020": "Semi-supervised learning with normalizing flows, arXiv:1912.13025",
    "Jaini, Kobyzev, Yu & Brubaker 2020": "Tails of Lipschitz triangular flows, arXiv:1907.04481",
    "Jaini, Selby & Yu 2019": "Sum-of-squares polynomial flow, arXiv:1905.02325",
    "Jones & Pewsey 2009": "Sinh-arcsinh distributions, Biometrika 96",
    "Kingma & Dhariwal 2018": "Glow: generative flow with invertible 1x1 convolutions, arXiv:1807.03039",
    "Kingma et al. 2016": "Improving variational inference with inverse autoregressive flow, arXiv:1606.04934",
    "Laszkiewicz, Lederer & Fischer 2022": "Marginal tail-adaptive normalizing flows, arXiv:2206.10311",
    "Lyu & Simoncelli 2009": "Nonlinear extraction of independent components of natural images using radial "
    "Gaussianization, Neural Computation 21",
    "Papamakarios et al. 2021": "Normalizing flows for probabilistic modeling and inference, arXiv:1912.02762",
    "Papamakarios, Pavlakou & Murray 2017": "Masked autoregressive flow for density estimation, arXiv:1705.07057",
    "Rezende & Mohamed 2015": "Variational inference with normalizing flows, arXiv:1505.05770",
    "Tomczak & Welling 2016": "Improving variational auto-encoders using Householder flow, arXiv:1611.09630",
    "Tran, Vafa, Agrawal, Dinh & Poole 2019": "Discrete flows: invertible generative models of discrete data, "
    "arXiv:1905.10347",
    "Wehenkel & Louppe 2019": "Unconstrained monotonic neural networks, arXiv:1908.05164",
    "Winkler, Worrall, Hoogeboom & Welling 2019": "Learning likelihoods with conditional normalizing flows, "
    "arXiv:1912.00042",
    "van den Berg, Hasenclever, Tomczak & Welling 2018": "Sylvester normalizing flows for variational inference, "
    "arXiv:1803.05649",
}
