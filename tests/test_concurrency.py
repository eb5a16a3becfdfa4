import os
import threading
import warnings

import pytest

from leechcodec.concurrency import Lock, own_warnings


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are POSIX's")
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_finds_it_open(make):
    lock, held, go = Lock(make), threading.Event(), threading.Event()

    def hold():
        with lock.held():
            held.set()
            go.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    if not (child := os.fork()):
        signals = threading.Thread(target=lambda: lock.held().__enter__())
        signals.start()
        signals.join(20)
        os._exit(signals.is_alive())
    go.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_no_other_thread_holds_it():
    lock, inside, most = Lock(), [], []

    def work():
        for _ in range(200):
            with lock.held():
                inside.append(None)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


def test_filters_are_as_before_whoever_ends_last():
    entered, leave = threading.Event(), threading.Event()
    before = list(warnings.filters)

    def first():
        with own_warnings():
            warnings.simplefilter("ignore", BytesWarning)
            entered.set()
            leave.wait(60)

    def second():
        with own_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            warnings.warn("heard", UserWarning, stacklevel=1)
        heard.extend(str(warning.message) for warning in caught)

    heard = []
    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert entered.wait(60)
    threads[1].start()
    threads[1].join(0.2)
    leave.set()
    for thread in threads:
        thread.join()
    assert warnings.filters == before and heard == ["heard"]
