"""Matrix blocks of contact, which stand beside the fixed pattern because they come and go."""

import warp as wp

from physsim.physics.laws import SCALARS


class Entries:
    """Matrix blocks of contact beside the fixed pattern: lower triangle, in no order, `count[env]` of them.

    Args:
        device: Warp device.
        envs: environments.
        block_dtype: scalar of the blocks.
    """

    def __init__(self, device, envs, block_dtype):
        self.device, self.envs = device, envs
        self.Block = wp.types.matrix((3, 4), SCALARS[block_dtype])
        self.count = wp.zeros(envs, dtype=int, device=device)
        self._count_view = self.count.numpy() if wp.get_device(device).is_cpu else None
        self._allocate(1)

    def _allocate(self, capacity):
        shape = (self.envs, capacity)
        self.rows, self.columns = (wp.zeros(shape, dtype=int, device=self.device) for _ in range(2))
        self.blocks = wp.zeros(shape, dtype=self.Block, device=self.device)

    @property
    def arrays(self):
        """What a linear solver reads: how many [envs], and rows, columns and blocks [envs, capacity]."""
        return self.count, self.rows, self.columns, self.blocks

    def clear(self):
        """Forget all blocks."""
        if self._count_view is not None:
            self._count_view[...] = 0
        else:
            self.count.zero_()

    def reserve(self, needed):
        """Make room for so many blocks an environment; returns whether the arrays are new."""
        if needed <= self.rows.shape[1]:
            return False
        self._allocate(2 * needed)
        return True
