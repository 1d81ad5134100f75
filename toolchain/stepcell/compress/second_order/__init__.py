"""Second-order pruning: exact optimal brain surgeon on the Hessian of every row, in closed form."""

from stepcell.compress.second_order.closed_form import cut, prune_in_closed_form
from stepcell.compress.second_order.fit import refit
from stepcell.compress.second_order.ranking import Ranking, rank_removals

__all__ = ["Ranking", "cut", "prune_in_closed_form", "rank_removals", "refit"]
