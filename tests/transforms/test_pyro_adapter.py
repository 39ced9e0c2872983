"""Pyro's own transforms in flowcli's shape."""

import torch
from pyro.distributions.transforms import AffineAutoregressive
from pyro.nn import AutoRegressiveNN

from flowcli.transforms.pyro_adapter import PyroBijection


def test_rows_leave_nothing_in_the_transform():
    """What a transform keeps of the rows it saw last would be wrong for those of another thread."""
    transform = AffineAutoregressive(AutoRegressiveNN(3, [8]))
    before = dict(vars(transform))
    bijection = PyroBijection(transform)
    z = torch.randn(5, 3)
    x, log_det = bijection.forward_and_log_det(z)
    again, inverse_log_det = bijection.inverse_and_log_det(x)
    assert vars(transform) == before
    torch.testing.assert_close(again, z)
    torch.testing.assert_close(inverse_log_det, -log_det)
    # It has the transform's own weights.
    with torch.no_grad():
        next(transform.parameters()).add_(1)
    assert not torch.equal(bijection.forward_and_log_det(z)[0], x)
