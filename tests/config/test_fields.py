"""What all configs are made of."""

import copy
import pickle
import subprocess
import sys

from scaling.config import OptimConfig
from scaling.config.fields import frozen

COUNTED = []


class Counting:
    def __hash__(self):
        COUNTED.append(1)
        return 7


@frozen
class Holder:
    held: Counting


def test_a_config_is_hashed_once():
    holder = Holder(held=Counting())
    assert hash(holder) == hash(holder) and len(COUNTED) == 1


def test_a_hash_goes_no_further_than_its_config():
    config = OptimConfig(lr=1e-2)
    hash(config)
    for other in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert other == config and hash(other) == hash(config)
        assert set(vars(pickle.loads(pickle.dumps(config)))) == set(OptimConfig.__dataclass_fields__)


def test_a_config_from_another_process_is_found_among_ones_own():
    # Hashes of texts differ between processes, so one that came along would be the wrong one here.
    code = (
        "import pickle, sys; from scaling.config import ScheduleConfig; config = ScheduleConfig(kind='cosine');"
        "hash(config); sys.stdout.buffer.write(pickle.dumps(config))"
    )
    from scaling.config import ScheduleConfig

    sent = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout
    assert pickle.loads(sent) in {ScheduleConfig(kind="cosine")}
