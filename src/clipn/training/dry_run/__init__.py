"""A look ahead: data, room, memory and time of a run before it starts."""

from clipn.training.dry_run.plan import Plan, plan_run

__all__ = ["Plan", "plan_run"]
