"""Measurements that complete a setting: workers kept between epochs, and the validation's own loader."""

from __future__ import annotations

from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.model import ChosenSetting, LoaderTrial
from hwdiag.dataloader.search import WORKERS, lever, with_workers
from hwdiag.dataloader.trials import Trials
from hwdiag.experiment.lever import Plan

NEAR_BEST = 0.9
"""The validation loader takes the fewest workers that give this share of the best among its own."""
MOST_EPOCH_BATCHES = 64


def restarts(trials: Trials, feeder: Feeder, best: ChosenSetting) -> tuple[ChosenSetting, dict[str, float]]:
    """Time the second epoch's first batch with workers kept and started afresh; the best with what is faster."""
    found = {}
    for keep in (False, True):
        trials.say("starting epochs, " + ("workers kept" if keep else "workers started again"))
        setting = best.setting.model_copy(update={"persistent": keep})
        outcome, said = trials.ask(feeder, "epochs", setting=setting, batches=MOST_EPOCH_BATCHES)
        name = "kept" if keep else "afresh"
        trials.done.append(LoaderTrial(name=f"workers {name}", phase="epochs", block=0, outcome=outcome))
        if outcome.ok:
            found[name] = said["restart_s"]
    if len(found) < 2:
        return best, found
    keep = found["kept"] < found["afresh"]
    setting = best.setting.model_copy(update={"persistent": True} if keep else {})
    return best.model_copy(update={"setting": setting, "restart_s": found["kept" if keep else "afresh"]}), found


def validation(trials: Trials, feeder: Feeder, best: ChosenSetting) -> ChosenSetting | None:
    """Return the setting with the fewest workers, at most half of the training's, that give most of what so many
    can."""
    most = max(1, (best.setting.workers or 1) // 2)
    counts = sorted({max(1, most // 4), max(1, most // 2), most})
    run = trials.runner(feeder, validation=True)
    plans = [Plan.of(lever(WORKERS, f"validation {with_workers(n).title}", workers=n)) for n in counts]
    for block in range(2):
        for plan in plans:
            run(plan, "screen", block)
    found = [c for c in map(trials.chosen, plans) if c is not None]
    enough = NEAR_BEST * max((c.samples_s for c in found), default=0.0)
    return next((c for c in found if c.samples_s >= enough), None)
