"""Shards: every image once, the same bytes whoever did it when, and going on after whatever ended a run."""

import hashlib
import json
import tarfile
from functools import partial
from pathlib import Path

import pytest

from leechcodec.apps.batch.processes import run_processes
from leechcodec.apps.batch.ray_actors import run_ray
from leechcodec.apps.batch.tasks import ATTEMPTS, Outcome, Task
from leechcodec.apps.shards import run
from leechcodec.apps.shards.archive import fragment, read_index, write_archive
from leechcodec.apps.shards.plan import Plan, find_images
from leechcodec.apps.shards.run import write_shards
from leechcodec.apps.shards.worker import Settings, Worker
from leechcodec.codec import api
from leechcodec.codec.model_store import save_model
from leechcodec.codec.token_files import deserialize_tokens
from leechcodec.errors import ConfigError, TokensError
from leechcodec.formats.images import load_image
from leechcodec.formats.side_data import flattened
from leechcodec.testing.tiny import tiny_model
from tests.batch_workers import Mortal
from tests.lab.lab_files import picture

pytestmark = pytest.mark.slow

SUFFIXES = {".png", ".jpg"}


@pytest.fixture
def photos(tmp_path):
    """Nine images whose names would collide as keys, and a text."""
    folder = tmp_path / "photos"
    names = ["a.png", "a.jpg", "a.b.png", "a.b.c.png", "sub/a.png", "sub/a.jpg", "other/a.png", "ä ö.png", "z.PNG"]
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(70 + seed, 50, seed).save(path)
    (folder / "notes.txt").write_text("no image")
    return folder


def plan_of(photos, out, shard_size=4):
    return Plan(photos, find_images(photos, SUFFIXES, True), out / "tokens-%06d.tar", shard_size)


@pytest.fixture
def settings(photos, tiny_folder):
    return Settings(photos, quality=60, model=str(tiny_folder))


def here(settings, tasks, order=1, fails=None):
    """An executor in this process. order: -1 from the last task to the first. fails: called before each."""
    worker = Worker(settings)
    for task in list(tasks)[::order]:
        if fails:
            fails(task)
        yield worker(task)


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


def samples(folder: Path) -> list[tuple[str, dict[str, bytes]]]:
    """(key, contents by ending) in the order of the shards, read as WebDataset reads them."""
    found: list[tuple[str, dict[str, bytes]]] = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                key, ending = member.name.split(".", 1)
                if not found or found[-1][0] != key:
                    found.append((key, {}))
                found[-1][1][ending] = archive.extractfile(member).read()
    return found


@pytest.fixture
def undisturbed(photos, settings, tmp_path):
    """Shards of one run."""
    report = write_shards(plan_of(photos, tmp_path / "whole"), settings, partial(here, settings))
    assert report.done == 9 and not report.failed
    return written(tmp_path / "whole")


# --- what is in them -------------------------------------------------------------------------------------------


def test_every_image_is_in_them_once(photos, settings, tmp_path, tiny_folder):
    steps = []
    plan = plan_of(photos, tmp_path / "out")
    report = write_shards(plan, settings, partial(here, settings), lambda *step: steps.append(step))
    assert [path.name for path in report.written] == [f"tokens-00000{n}.tar" for n in range(3)]
    assert steps == [(n, 9) for n in range(10)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(path.name for path in report.written),
        "tokens-manifest.json",
    ]
    found = samples(tmp_path / "out")
    assert [key for key, _ in found] == [f"{n:09}" for n in range(9)]
    about = [json.loads(sample["json"]) for _, sample in found]
    assert [facts["source"] for facts in about] == list(plan.sources) and len(set(plan.sources)) == 9
    for (_, sample), facts in zip(found, about):
        source = photos / facts["source"]
        tokens = deserialize_tokens(sample["safetensors"], model=tiny_folder)
        image = flattened(load_image(source))
        assert tokens.digest() == api.tokenize(image, quality=60, model=tiny_folder).digest()
        assert (facts["width"], facts["height"], facts["quality"]) == (*image.size, 60)
        assert facts["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_npy_samples_hold_all_that_detokenizing_needs(photos, settings, tmp_path, tiny_folder):
    settings = Settings(photos, form="npy", model=str(tiny_folder))
    write_shards(plan_of(photos, tmp_path / "out"), settings, partial(here, settings))
    for _, sample in samples(tmp_path / "out"):
        facts = json.loads(sample["json"])
        size = facts["width"], facts["height"]
        deserialize_tokens(sample["npy"], size=size, quality=facts["quality"], model=tiny_folder)


def test_members_say_nothing_of_when_and_who(photos, settings, tmp_path, undisturbed):
    with tarfile.open(tmp_path / "whole" / "tokens-000000.tar") as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert member.mode == 0o644


def test_transparency_is_laid_on_white(tmp_path, tiny_folder):
    image = picture(64, 64)
    image.putalpha(0)
    (tmp_path / "in").mkdir()
    image.save(tmp_path / "in" / "a.png")
    settings = Settings(tmp_path / "in", model=str(tiny_folder))
    outcome = Worker(settings)(Task(0, "a.png"))
    white = api.tokenize(picture(1, 1).resize((64, 64)).point(lambda _: 255), model=tiny_folder)
    assert deserialize_tokens(outcome.data, model=tiny_folder).digest() == white.digest()


# --- whoever, whenever -----------------------------------------------------------------------------------------


def test_the_order_of_completion_leaves_no_trace(photos, settings, tmp_path, undisturbed):
    write_shards(plan_of(photos, tmp_path / "back"), settings, partial(here, settings, order=-1))
    assert written(tmp_path / "back") == undisturbed


@pytest.mark.parametrize("order", [1, -1])
def test_a_run_goes_on_where_it_was_ended(photos, settings, tmp_path, undisturbed, order):
    plan = plan_of(photos, tmp_path / "out")
    begun = []

    def power_cut(task):
        begun.append(task.number)
        if len(begun) in (3, 6):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_shards(plan, settings, partial(here, settings, order=order, fails=power_cut))
        (plan.parts / ".leechcodec.half").write_bytes(b"what was being written")
    report = write_shards(plan, settings, partial(here, settings, order=order, fails=power_cut))
    assert (report.done, report.present) == (5, 4) and len(begun) == 9 + 2  # only the interrupted ones twice
    assert written(tmp_path / "out") == undisturbed
    assert not plan.parts.exists() and not plan.failed.exists()


@pytest.mark.parametrize("step", ["run.write_archive", "archive.os.fsync", "archive.os.replace"])
def test_a_run_killed_while_it_writes_a_shard(photos, settings, tmp_path, undisturbed, monkeypatch, step):
    plan = plan_of(photos, tmp_path / "out")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("leechcodec.apps.shards.run.write_atomic", lambda path, data, force: path.write_bytes(data))
        plan.pattern.parent.mkdir()
        patch.setattr(f"leechcodec.apps.shards.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            write_shards(plan, settings, partial(here, settings))
    assert not written(tmp_path / "out")
    write_shards(plan, settings, partial(here, settings))
    assert written(tmp_path / "out") == undisturbed


def test_what_is_complete_is_left_alone(photos, settings, tmp_path, undisturbed):
    plan = plan_of(photos, tmp_path / "whole")
    before = [plan.shard_path(shard).stat() for shard in range(3)]
    report = write_shards(plan, settings, lambda tasks: pytest.fail("nothing to do"))
    assert (report.done, report.present, report.written) == (0, 9, ())
    assert [plan.shard_path(shard).stat() for shard in range(3)] == before
    plan.shard_path(1).unlink()
    report = write_shards(plan, settings, partial(here, settings))
    assert (report.done, report.written) == (4, (plan.shard_path(1),)) and written(tmp_path / "whole") == undisturbed


def test_what_comes_twice_is_there_once(photos, settings, tmp_path, undisturbed):
    def doubling(tasks):
        for outcome in here(settings, tasks):
            yield outcome
            yield outcome

    assert write_shards(plan_of(photos, tmp_path / "out"), settings, doubling).done == 9
    assert written(tmp_path / "out") == undisturbed


# --- failures --------------------------------------------------------------------------------------------------


def test_failed_images_are_listed_and_tried_again(photos, settings, tmp_path, undisturbed):
    plan, good = plan_of(photos, tmp_path / "out"), (photos / "a.png").read_bytes()
    (photos / "a.png").write_bytes(good[:40])
    for _ in range(2):
        report = write_shards(plan, settings, partial(here, settings))
        assert [source for source, _ in report.failed] == ["a.png"]
        (line,) = plan.failed.read_text().splitlines()
        facts = json.loads(line)
        assert (facts["key"], facts["source"]) == ("000000003", "a.png") and "a.png: " in facts["error"]
        assert len(samples(tmp_path / "out")) == 8
    assert (report.done, report.present, report.written) == (0, 8, ())
    (photos / "a.png").write_bytes(good)
    report = write_shards(plan, settings, partial(here, settings))
    assert (report.done, report.written) == (1, (plan.shard_path(0),)) and not plan.failed.exists()
    assert written(tmp_path / "out") == undisturbed


def test_a_shard_of_failures_alone_is_not_written(tmp_path, tiny_folder):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    plan = Plan(tmp_path / "in", ("a.png",), tmp_path / "out" / "tokens-%06d.tar")
    settings = Settings(tmp_path / "in", model=str(tiny_folder))
    assert len(write_shards(plan, settings, partial(here, settings)).failed) == 1
    assert not written(tmp_path / "out")


def test_transient_errors_are_tried_again_within_the_run(photos, settings, tmp_path, undisturbed):
    rounds = []

    def shaky(tasks):
        tasks = list(tasks)
        rounds.append(len(tasks))
        for outcome in here(settings, tasks):
            unlucky = outcome.number in (2, 5) and len(rounds) < ATTEMPTS
            yield Outcome(outcome.number, error="the disk is away", transient=True) if unlucky else outcome

    assert not write_shards(plan_of(photos, tmp_path / "out"), settings, shaky).failed
    assert rounds == [9, 2, 2] and written(tmp_path / "out") == undisturbed

    def forgetful(tasks):
        return here(settings, list(tasks)[1:])

    plan = plan_of(photos, tmp_path / "forgotten")
    report = write_shards(plan, settings, forgetful)
    assert report.failed == ((plan.sources[0], f"{plan.sources[0]}: its worker died"),) and report.done == 8

    def hopeless(tasks):
        return [Outcome(task.number, error="the disk is away", transient=True) for task in tasks]

    report = write_shards(plan_of(photos, tmp_path / "none"), settings, hopeless)
    assert report.failed == tuple((source, "the disk is away") for source in plan_of(photos, tmp_path).sources)


def test_a_worker_never_raises(photos, settings, monkeypatch):
    assert Worker(settings)(Task(0, "missing.png")).transient
    for error, transient in (
        (MemoryError(), True),
        (RuntimeError("can't allocate memory"), True),
        (KeyError(1), False),
    ):

        def broken(*_, error=error, **__):
            raise error

        monkeypatch.setattr("leechcodec.apps.shards.worker.api.tokenize", broken)
        outcome = Worker(settings)(Task(0, "a.png"))
        assert outcome.error.startswith("a.png: ") and outcome.transient is transient


# --- refusals --------------------------------------------------------------------------------------------------


def test_another_output_for_another_thing(photos, settings, tmp_path, undisturbed, tiny_folder, monkeypatch):
    out, nobody = tmp_path / "whole", partial(pytest.fail, "no work")

    def refused(match, plan=None, **changes):
        with pytest.raises(TokensError, match=match):
            changed = Settings(**{**vars(settings), **changes})
            write_shards(plan or plan_of(photos, out), changed, nobody)

    refused(r"tokens-manifest.json: begun otherwise, quality 50\.0, there 60\.0; name another output", quality=50)
    refused("effort 2, there 1", effort=2)
    refused("format npy, there safetensors", form="npy")
    refused("shard_size 5, there 4", plan_of(photos, out, 5))
    (photos / "new.png").write_bytes((photos / "a.png").read_bytes())
    refused("images 10, there 9; sources_sha256")
    (photos / "new.png").unlink()
    with monkeypatch.context() as elsewhere:  # a device that torch alone has
        elsewhere.setattr(run, "place", lambda: ("torch", "cuda"))
        refused("networks_sha256")
    save_model(tmp_path / "other", tiny_model(seed=1))
    refused("token_model", model=str(tmp_path / "other"))
    assert written(out) == undisturbed
    for damage in ("[]", "{"):
        (out / "tokens-manifest.json").write_text(damage)
        refused("tokens-manifest.json: damaged")
    (out / "tokens-manifest.json").write_text("")
    refused("is there without its tokens-manifest.json")
    refused("tokens-000000.tar: is there without its tokens-manifest.json")


def test_a_damaged_shard_is_named(photos, settings, tmp_path, undisturbed):
    plan = plan_of(photos, tmp_path / "whole")
    path, nobody = plan.shard_path(1), partial(pytest.fail, "no work")
    whole = path.read_bytes()
    stranger = tmp_path / "stranger.tar"
    write_archive(stranger, [fragment("000000001", {"json": b"{}"})], tmp_path / "t")
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1].offset
    hole = whole[: last + 20] + b"\xff" + whole[last + 21 :]
    for damage in (b"", whole[:700], whole[:-10240], whole[:last], hole, b"x" * 2000, stranger.read_bytes()):
        path.write_bytes(damage)
        with pytest.raises(TokensError, match=path.name):
            write_shards(plan, settings, nobody)
    path.unlink()
    write_shards(plan, settings, partial(here, settings))
    assert written(tmp_path / "whole") == undisturbed


def test_two_runs_do_not_meet(photos, settings, tmp_path):
    pytest.importorskip("fcntl", reason="locks are POSIX's")
    plan = plan_of(photos, tmp_path / "out")

    def meanwhile(tasks):
        with pytest.raises(TokensError, match="another run is at work"):
            write_shards(plan, settings, partial(here, settings))
        return here(settings, tasks)

    assert write_shards(plan, settings, meanwhile).done == 9


@pytest.mark.parametrize(
    "name", ["tokens.tar", "tokens-%06d", "tokens-%s.tar", "%d-%d.tar", "100%.tar", "tokens-%06d.zip"]
)
def test_names_of_shards(tmp_path, name):
    with pytest.raises(ConfigError, match=r"tokens-%06d\.tar"):
        Plan(tmp_path, ("a.png",), tmp_path / name)


def test_a_plan_needs_images(tmp_path):
    with pytest.raises(ConfigError, match="no images"):
        Plan(tmp_path, (), tmp_path / "%d.tar")
    with pytest.raises(ConfigError, match="at least one"):
        Plan(tmp_path, ("a.png",), tmp_path / "%d.tar", 0)
    assert Plan(tmp_path, ("a.png",), tmp_path / "%d.tar").manifest.name == "tokens-manifest.json"


def test_an_archive_is_read_as_it_was_written(tmp_path):
    fragments = {key: fragment(key, {"json": b"{}", "npy": key.encode() * size}) for size, key in enumerate("abc")}
    write_archive(tmp_path / "a.tar", fragments.values(), tmp_path / "t")
    data = (tmp_path / "a.tar").read_bytes()
    assert len(data) % 10240 == 0
    for key, (first, length) in read_index(tmp_path / "a.tar").items():
        assert data[first : first + length] == fragments[key]
    write_archive(tmp_path / "mixed.tar", [fragments["a"], fragments["b"], fragments["a"]], tmp_path / "t")
    with pytest.raises(TokensError, match=r"member a\.json"):
        read_index(tmp_path / "mixed.tar")


# --- drivers ---------------------------------------------------------------------------------------------------


def test_processes_write_the_same_shards_when_a_worker_is_killed(photos, settings, tmp_path, undisturbed):
    execute = partial(run_processes, partial(Mortal, settings), 2)
    report = write_shards(plan_of(photos, tmp_path / "out"), settings, execute)
    assert (tmp_path / "killed").exists() and report.done == 9 and not report.failed
    assert written(tmp_path / "out") == undisturbed


def test_ray_writes_the_same_shards_when_a_worker_is_killed(photos, settings, tmp_path, undisturbed):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'leechcodec[ray]'")
    execute = partial(run_ray, partial(Mortal, settings), 2, None)
    report = write_shards(plan_of(photos, tmp_path / "out"), settings, execute)
    assert (tmp_path / "killed").exists() and report.done == 9 and not report.failed
    assert written(tmp_path / "out") == undisturbed and not ray.is_initialized()
