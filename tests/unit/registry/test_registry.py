"""Models: registered, searched, approved, promoted, rolled back, deleted; and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.conftest import Trained

import tachograph
from tachograph.errors import NotAllowed, NotFound, QueryError
from tachograph.registry.decisions import Registered, Staged


def test_a_version_has_all_of_its_run(trained: Trained, root: Path) -> None:
    run = trained(val_acc=0.93, odd=float("nan"))
    version = run.register_model("credit-risk", tags={"team": "risk"}, description="the first one")
    assert (str(version), version.name, version.version) == ("credit-risk@1.0.0", "credit-risk", "1.0.0")
    assert (version.stage, version.approval, version.aliases) == ("development", "pending", [])
    assert version.tags == {"team": "risk"}
    assert version.description == "the first one"
    assert version.metrics["val_acc"] == 0.93
    assert version.metrics["odd"] != version.metrics["odd"]
    assert version.params == {"lr": 0.1, "net": "small"}
    assert [(data.name, data.role) for data in version.datasets] == [("X", "train")]
    assert version.datasets[0].digest == run.datasets[0].digest != ""
    assert version.artifact.path().read_text() == "weights 1"
    assert version.run is not None
    assert version.run.id == run.id
    [made] = version.history
    assert isinstance(made, Registered)
    assert made.by
    assert abs(made.at - version.registered.timestamp()) < 1e-6


def test_it_outlives_its_run(trained: Trained, root: Path) -> None:
    from tachograph.upkeep import upkeep_of

    run = trained(val_acc=0.93)
    run.register_model("m")
    upkeep = upkeep_of(str(root))
    upkeep.remove([(run.id, run.name)], True)
    os.utime(next((root / "blobs").glob("*/*")), (0, 0))  # long ago, so that it could be collected
    upkeep.collect(False, 0)
    version = tachograph.open_store().model("m").version("latest")
    assert version.run is None
    assert version.metrics["val_acc"] == 0.93
    assert version.artifact.path().read_text() == "weights 1"


def test_numbers_are_chosen_or_bumped_and_never_given_twice(trained: Trained) -> None:
    run = trained(val_acc=0.9)
    assert [run.register_model("m", bump=bump).version for bump in (None, "patch", "minor", "major")] == [
        "1.0.0", "1.0.1", "1.1.0", "2.0.0",
    ]  # fmt: skip
    assert run.register_model("m", version="3.0.0-rc.1").version == "3.0.0-rc.1"
    with pytest.raises(ValueError, match=r"version 1\.0\.1 of model 'm' is there already: versions never change"):
        run.register_model("m", version="1.0.1")
    model = tachograph.open_store().model("m")
    model.version("3.0.0-rc.1").delete("a mistake")
    with pytest.raises(NotFound, match=r"version 3\.0\.0-rc\.1 of model 'm' was deleted by .*: a mistake"):
        tachograph.open_store().model("m").version("3.0.0-rc.1")
    assert run.register_model("m").version == "3.0.0"
    with pytest.raises(ValueError, match="is there already"):
        run.register_model("m", version="3.0.0-rc.1")


@pytest.mark.parametrize(
    "name", ["a/b", "../m", ".m", "", " m", "m ", "m\n", "m@1", "m#1", "x" * 101, "a\x1b[31m", 5, None]
)
def test_names_that_no_model_can_have(trained: Trained, root: Path, name: Any) -> None:
    run = trained(val_acc=0.9)
    with pytest.raises(ValueError, match="a model's name") as told:
        run.register_model(name)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
    assert not (root / "registry").exists()


@pytest.mark.parametrize("name", ["credit-risk", "Modell für Österreich", "模型", "a.b_c+d", "x" * 100])
def test_names_that_models_have(trained: Trained, name: str) -> None:
    assert trained(val_acc=0.9).register_model(name).name == name
    assert [model.name for model in tachograph.open_store().models] == [name]


def test_versions_are_found_by_what_people_say(trained: Trained) -> None:
    for accuracy in (0.8, 0.9):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    model.version("1.0.0").promote("production")
    model.version("1.1.0").alias("champion")
    for key, number in [
        ("1.0.0", "1.0.0"),
        ("v1.0.0", "1.0.0"),
        ("production", "1.0.0"),
        ("champion", "1.1.0"),
        ("latest", "1.1.0"),
    ]:
        assert model.version(key).version == number
    for key in ("2.0.0", "staging", "nobody", "../x", "\x1b"):
        with pytest.raises(NotFound):
            model.version(key)
    with pytest.raises(NotFound, match=r"there is no model 'n'; there are: m"):
        tachograph.open_store().model("n")
    for alias in ("1.0", "v2", "production", "Production", "latest", "LATEST", "a/b", ""):
        with pytest.raises(ValueError, match="alias"):
            model.version("1.0.0").alias(alias)


def test_they_are_searched_in_the_language_of_runs(trained: Trained) -> None:
    for accuracy in (0.95, 0.85, 0.91):
        trained(val_acc=accuracy).register_model("m", tags={"kind": "small" if accuracy < 0.9 else "large"})
    store = tachograph.open_store()
    store.model("m").version("1.2.0").promote("production")

    def found(**question: Any) -> list[str]:
        return [version.version for version in store.versions(**question)]

    assert found() == ["1.2.0", "1.1.0", "1.0.0"]
    assert found(where="stage = 'production' and metrics.val_acc > 0.9") == ["1.2.0"]
    assert found(where="tags.kind = 'large'", order_by="metrics.val_acc") == ["1.2.0", "1.0.0"]
    assert found(where="params.net = 'small' and approval = 'pending' and registered > '2020-01-01'", limit=1) == [
        "1.2.0"
    ]
    assert found(where="metrics.none is null") == ["1.2.0", "1.1.0", "1.0.0"]
    store.model("m").version("1.0.0").approve()
    assert found(where="approval = 'approved'") == ["1.0.0"]
    with pytest.raises(QueryError, match=r"unknown field 'status' .*name, version, stage"):
        found(where="status = 'finished'")
    with pytest.raises(ValueError, match="limit is a number"):
        found(limit=-1)


def test_production_has_one_version_and_goes_back_and_forth(trained: Trained) -> None:
    for accuracy in (0.8, 0.9):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    with pytest.raises(NotFound, match="no version of 'm' was in production before"):
        model.rollback("production")
    model.version("1.0.0").promote("production")
    model.version("1.1.0").promote("production", reason="better")
    assert [version.stage for version in model.versions] == ["archived", "production"]
    assert model.rollback("production").version == "1.0.0"
    assert [version.stage for version in model.versions] == ["production", "archived"]
    with pytest.raises(NotFound, match=r"no version of 'm' was in production before 1\.0\.0"):
        model.rollback("production")
    model.version("1.1.0").promote("production")
    came = [(each.version, each.rollback) for each in model.history if isinstance(each, Staged)]
    assert came == [("1.0.0", False), ("1.1.0", False), ("1.0.0", True), ("1.1.0", False)]
    with pytest.raises(ValueError, match="there is no stage 'prod': the stages are development"):
        model.version("1.0.0").promote("prod")


def test_each_rollback_goes_one_further_back(trained: Trained) -> None:
    for accuracy in (0.7, 0.8, 0.9):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    for version in model.versions:
        version.promote("production")
    assert [model.rollback("production").version for _ in range(2)] == ["1.1.0", "1.0.0"]
    with pytest.raises(NotFound, match=r"before 1\.0\.0"):
        model.rollback("production")
    for number in ("1.2.0", "1.0.0", "1.2.0"):
        model.version(number).promote("production")
    assert [model.rollback("production").version for _ in range(3)] == ["1.0.0", "1.2.0", "1.0.0"]


def test_what_is_rejected_goes_nowhere(trained: Trained) -> None:
    for accuracy in (0.8, 0.9):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    first, second = model.versions
    first.promote("production")
    second.promote("production")
    first.reject("it leaks the target")
    for stage in ("staging", "production"):
        with pytest.raises(NotAllowed, match=r"^refused: .* rejected it$"):
            first.promote(stage)
    with pytest.raises(NotAllowed, match="rejected it"):
        model.rollback("production")
    with pytest.raises(NotAllowed, match="rejected it"):
        first.deployed("eu")
    first.promote("archived")


def test_an_empty_condition_is_none(trained: Trained) -> None:
    trained(val_acc=0.9).register_model("m")
    model = tachograph.open_store().model("m")
    for empty in ("", "  "):
        with pytest.raises(QueryError, match="if: a condition must not be empty"):
            model.version("latest").promote("production", if_=empty)
        with pytest.raises(QueryError, match="rule: a condition must not be empty"):
            model.rule("production", empty)
    assert len(model.history) == 1


def test_a_rule_twice_is_one(trained: Trained) -> None:
    trained(val_acc=0.9).register_model("m")
    model = tachograph.open_store().model("m")
    assert model.rule("production", approvals=1) == model.rule("production", approvals=1)
    assert len({model.rule(stage, approvals=1) for stage in ("production", "staging")}) == 2


def test_an_artifact_whose_bytes_are_missing_is_no_version(trained: Trained, root: Path) -> None:
    run = trained(val_acc=0.9)
    digest = run.artifact("model").members
    assert digest is None
    next((root / "blobs").glob(f"*/{run.artifact('model').digest.removeprefix('sha256:')}")).unlink()
    with pytest.raises(tachograph.Damaged, match="is missing; restore it"):
        tachograph.open_store().run(run.id).register_model("m")
    assert not (root / "registry").exists()


def test_a_version_is_what_it_was_when_it_is_read_again(trained: Trained) -> None:
    trained(val_acc=0.9).register_model("m")
    store = tachograph.open_store()
    assert store.version("m@1.0.0") == tachograph.open_store().version("m") != store
    assert len({store.version("m@latest"), store.version("m@1.0.0")}) == 1


def test_rules_say_which_and_by_how_much(trained: Trained, as_person: Callable[[str], Any]) -> None:
    as_person("ann")
    trained(val_acc=0.87).register_model("m")
    model = as_person("ann").model("m")
    first = model.rule("production", "metrics.val_acc >= 0.9")
    model.rule("production", approvals=2)
    model.rule("production", no_failed_checks=True)
    model.rule("production", not_by_author=True)
    version = as_person("ann").model("m").version("latest")
    version.approve()
    version.checked("bias", False, "too much")
    with pytest.raises(NotAllowed) as told:
        version.promote("production")
    assert str(told.value).split("; ") == [
        "refused: production asks for metrics.val_acc >= 0.9: metrics.val_acc is 0.87",
        "production asks for 2 approvals: there is none",
        "production asks for no failed checks: bias failed",
        "production asks for not by the one who registered it: ann did",
    ]
    assert version.stage == "development"
    refused = as_person("bob").model("m").history[-1]
    assert isinstance(refused, Staged)
    assert refused.by == "ann"
    assert len(refused.refused) == 4
    model.remove_rule(first, "too strict")
    for person in ("bob", "eve"):
        as_person(person).model("m").version("latest").approve("looks good")
    version = as_person("bob").model("m").version("latest")
    version.checked("bias", True)
    assert version.unmet("production") == []
    version.promote("production")
    assert tachograph.open_store().model("m").version("production").version == "1.0.0"


def test_a_rejection_stands_until_its_author_thinks_otherwise(
    trained: Trained, as_person: Callable[[str], Any]
) -> None:
    trained(val_acc=0.9).register_model("m")
    as_person("ann").model("m").rule("staging", "metrics.val_acc > 0")
    as_person("ann").model("m").version("latest").approve()
    as_person("bob").model("m").version("latest").reject("it is biased")
    version = as_person("ann").model("m").version("latest")
    assert version.approval == "rejected"
    with pytest.raises(NotAllowed, match="bob rejected it"):
        version.promote("staging")
    as_person("bob").model("m").version("latest").approve()
    as_person("ann").model("m").version("latest").promote("staging")


def test_a_condition_of_the_moment(trained: Trained) -> None:
    trained(val_acc=0.87).register_model("m")
    version = tachograph.open_store().model("m").version("latest")
    with pytest.raises(QueryError, match=r"expected a value at the end"):
        version.promote("production", if_="metrics.val_acc >=")
    assert len(version.history) == 1
    with pytest.raises(NotAllowed, match=r"metrics\.val_acc >= 0\.9 does not hold: metrics\.val_acc is 0\.87"):
        version.promote("production", if_="metrics.val_acc >= 0.9")
    with pytest.raises(NotAllowed, match=r"metrics\.f1 is missing"):
        version.promote("production", if_="metrics.f1 > 0")
    version.promote("production", if_="metrics.val_acc >= 0.8")


def test_a_protected_alias(trained: Trained) -> None:
    for accuracy in (0.95, 0.85):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    model.rule("production", "metrics.val_acc >= 0.9")
    model.protect("champion")
    model.version("1.0.0").alias("champion")
    with pytest.raises(NotAllowed, match=r"the alias 'champion' is protected: production asks for .* is 0\.85"):
        model.version("1.1.0").alias("champion")
    with pytest.raises(NotAllowed, match="is protected"):
        model.remove_alias("champion")
    with pytest.raises(NotAllowed, match="protected alias 'champion' stands for it"):
        model.version("1.0.0").delete()
    assert model.aliases == {"champion": "1.0.0"}


def test_what_runs_where_since_when_and_what_ran_before(trained: Trained) -> None:
    for accuracy in (0.95, 0.85, 0.9):
        trained(val_acc=accuracy).register_model("m")
    model = tachograph.open_store().model("m")
    first, second, third = model.versions
    first.deployed("eu-prod", url="https://ann:secret@eu.example.com/score")
    second.deployed("us")
    third.deployed("eu-prod", status="failed")
    assert {name: it.deployed.version for name, it in model.running.items()} == {"eu-prod": "1.0.0", "us": "1.1.0"}
    third.deployed("eu-prod")
    third.deployed("eu-prod", url="https://eu.example.com/v3")
    eu = model.running["eu-prod"]
    assert eu.before is not None
    assert (eu.deployed.version, eu.deployed.url, eu.before.version) == ("1.2.0", "https://eu.example.com/v3", "1.0.0")
    assert [(each.environment, each.status) for each in third.deployments] == [
        ("eu-prod", "failed"), ("eu-prod", "live"), ("eu-prod", "live"),
    ]  # fmt: skip
    assert "secret" not in str(first.deployments[0].url)
    with pytest.raises(NotAllowed, match="it runs in us"):
        second.delete()
    second.deployed("us", status="retired")
    second.delete()
    assert list(tachograph.open_store().model("m").running) == ["eu-prod"]
    for environment, status in [("a/b", "live"), ("", "live"), ("eu", "broken")]:
        with pytest.raises(ValueError, match=r"an environment|status is one of"):
            first.deployed(environment, status=status)


def test_an_environment_may_ask_for_a_stage(trained: Trained) -> None:
    trained(val_acc=0.95).register_model("m")
    model = tachograph.open_store().model("m")
    model.rule(environment="eu-prod", query="stage = 'production'")
    [version] = model.versions
    with pytest.raises(NotAllowed, match=r"eu-prod asks for stage = 'production': stage is 'development'"):
        version.deployed("eu-prod")
    assert model.running == {}
    version.deployed("eu-prod", status="failed")
    version.promote("production")
    version.deployed("eu-prod")
    assert list(model.running) == ["eu-prod"]
    with pytest.raises(ValueError, match="of a stage or of an environment"):
        model.rule("production", "stage = 'staging'", environment="eu-prod")


def test_tags_and_notes_without_secrets(trained: Trained) -> None:
    trained(val_acc=0.9).register_model("m")
    model = tachograph.open_store().model("m")
    version = model.version("latest")
    version.tag({"owner": "ann", "gone": "x"})
    version.tag({"gone": None})
    model.tag({"domain": "credit"})
    version.note("password=hunter2secret is in it")
    model.note("for the annual report")
    again = tachograph.open_store().model("m")
    assert again.version("latest").tags == {"owner": "ann"}
    assert again.tags == {"domain": "credit"}
    assert "hunter2secret" not in again.version("latest").notes[0].text
    assert [note.text for note in again.notes] == ["for the annual report"]
    for bad in ("", " ", 5):
        with pytest.raises(ValueError, match="a note"):
            version.note(bad)  # type: ignore[arg-type]


def test_a_running_run_registers_and_raises_nothing(root: Path, tmp_path: Path) -> None:
    with tachograph.start_run() as run:
        run.log({"acc": 0.5})
        (tmp_path / "w.bin").write_bytes(b"weights")
        run.log_artifact(tmp_path / "w.bin", name="model")
        version = run.register_model("m", bump="patch")
        assert version is not None
        assert version.metrics == {"acc": 0.5}
        for name, artifact in [("a/b", "model"), ("m", "none")]:
            with pytest.warns(tachograph.TachographWarning, match="no version of a model was registered"):
                assert run.register_model(name, artifact) is None
    found = tachograph.open_store().run("latest")
    assert [(link.relation, link.target) for link in found.links] == [("registered", "m@1.0.0")]
    assert len(found.notes) == 2


def test_off_means_off(script: Any, tmp_path: Path) -> None:
    done = script(
        "import tachograph\nwith tachograph.start_run() as run: print(run.register_model('m'))",
        TACHOGRAPH_OFF="1", TACHOGRAPH_DIR=str(tmp_path / "off"),
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert not (tmp_path / "off").exists()
