"""``tachograph model``, on models that scikit-learn has trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.conftest import store_of, strict

import tachograph

TRAINING = """
import tachograph
tachograph.autolog()
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True)
for name, C in (("weak", 0.1), ("good", 1.0), ("better", 10.0)):
    with tachograph.start_run(name):
        LogisticRegression(C=C, max_iter=1000).fit(X, y)
"""
RULE = "metrics.train_accuracy >= 0.97"
HOSTILE = "\x1b]0;PWN\x07\x1b[2J\x08\r\x9b2J\u202e\x7f\nFORGED"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three runs, which have reached an accuracy of 0.96, 0.97333 and 0.98."""
    pytest.importorskip("sklearn")
    return store_of(TRAINING, tmp_path_factory)


@pytest.fixture
def models(runs: Path) -> Path:
    """The same with versions 1.0.0 (weak) and 1.1.0 (good) of the model iris."""
    store = tachograph.open_store()
    for name in ("weak", "good"):
        store.run(name).register_model("iris", tags={"team": "loans"}, description="flowers")
    return runs


def decisions(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in (root / "registry").rglob("*.json"))


# -- registering --


def test_register_prints_the_version_and_nothing_else(runs, run_cli, run_json):
    assert run_cli("model", "register", "good", "iris") == (0, "iris@1.0.0\n", "")
    assert run_cli("model", "register", "weak", "iris", "--bump", "patch")[1] == "iris@1.0.1\n"
    assert run_cli("model", "register", "weak", "iris", "--version", "2.0.0-rc.1")[1] == "iris@2.0.0-rc.1\n"
    tags = ["--tag", "team=loans", "--tag", "stage=none"]
    made = run_json("model", "register", "better", "--artifact", "model", "iris", *tags, "--description", "flowers")
    assert (made["name"], made["version"], made["stage"], made["approval"]) == (
        "iris",
        "2.0.0",
        "development",
        "pending",
    )
    assert (made["tags"], made["description"]) == ({"team": "loans", "stage": "none"}, "flowers")
    assert made["metrics"]["train_accuracy"] == 0.98
    assert made["params"]["C"] == 10.0


def test_register_refuses_in_a_line(runs, wrong):
    for call, status, says in (
        (["nobody", "iris"], 1, "no run 'nobody'"),
        (["good", "iris", "--artifact", "other"], 1, "no artifact 'other'"),
        (["good", "a/b"], 2, "a model's name"),
        (["good", ".."], 2, "a model's name"),
        (["good", "x" * 10_000], 2, "a model's name"),
        (["good", HOSTILE], 2, "a model's name"),
        (["good", "iris", "--version", "1"], 2, "a version is like 1.2.3"),
        (["good", "iris", "--version", "9" * 10_000], 2, "a version is like 1.2.3"),
        (["good", "iris", "--version", "1.0.0", "--bump", "major"], 2, "not allowed with"),
        (["good", "iris", "--bump", "huge"], 2, "invalid choice"),
        (["good", "iris", "--tag", "team"], 2, "key=value"),
        (["good"], 2, "NAME"),
    ):
        error = wrong("model", "register", *call, status=status)
        assert says in error
        assert len(error) < 300
    assert not (runs / "registry").exists()


def test_a_number_is_given_once(models, wrong):
    assert "there already" in wrong("model", "register", "good", "iris", "--version", "1.1.0", status=1)
    assert tachograph.open_store().model("iris").version("1.1.0").run.name == "good"
    assert len(decisions(models)) == 2


def test_deleted_for_good(models, run_cli, run_json, wrong):
    assert "--yes" in wrong("model", "delete", "iris@1.0.0")
    gone = run_json("model", "delete", "iris@1.0.0", "--yes", "--reason", "wrong data")
    assert gone == {"name": "iris", "version": "1.0.0", "deleted": True}
    assert "was deleted" in wrong("model", "show", "iris@1.0.0", status=1)
    assert "there already" in wrong("model", "register", "weak", "iris", "--version", "1.0.0", status=1)
    assert [one["version"] for one in run_json("model", "versions")] == ["1.1.0"]
    assert "(wrong data)" in run_cli("model", "history", "iris")[1]
    assert run_cli("model", "promote", "iris@1.1.0", "production")[0] == 0
    assert "it is in production" in wrong("model", "delete", "iris@1.1.0", "--yes", status=1)


@pytest.mark.parametrize(("typed", "left"), [("y", 1), ("n", 2), ("", 2)])
def test_deleting_is_confirmed(models, run_cli, monkeypatch, typed, left):
    from tachograph.cli import output

    monkeypatch.setattr(output, "can_ask", lambda: True)
    monkeypatch.setattr(output, "answer", lambda question: typed)
    assert run_cli("model", "delete", "iris@1.0.0")[0] == left - 1
    assert len(tachograph.open_store().model("iris").versions) == left


# -- listing --


def test_nothing_yet(store, run_cli, run_json):
    assert run_json("model", "list") == run_json("model", "versions") == []
    assert "model register" in run_cli("model", "list")[1]
    assert not store.exists()


def test_listed(models, run_cli, run_json):
    run_cli("model", "promote", "iris@1.1.0", "production")
    run_cli("model", "alias", "iris@1.0.0", "champion")
    status, listed, errors = run_cli("model", "list")
    assert (status, errors) == (0, "")
    assert listed.splitlines()[1].split() == ["iris", "2", "1.1.0", "1.1.0", "champion", "1.0.0"]
    [model] = run_json("model", "list")
    assert model["stages"] == {"1.0.0": "development", "1.1.0": "production"}
    assert (model["versions"], model["aliases"]) == (["1.0.0", "1.1.0"], {"champion": "1.0.0"})


def test_versions_are_searched(models, run_cli, run_json, wrong):
    assert [one["version"] for one in run_json("model", "versions", "--where", RULE)] == ["1.1.0"]
    found = run_json("model", "versions", "--order-by", "metrics.train_accuracy", "--limit", "1")
    assert [one["version"] for one in found] == ["1.0.0"]
    assert run_json("model", "versions", "--limit", "9" * 30)
    shown = run_cli("model", "versions", "--where", "tags.team = 'loans' and stage = 'development'")[1]
    assert [line.split()[0] for line in shown.splitlines()] == ["VERSION", "iris@1.1.0", "iris@1.0.0"]
    assert run_cli("model", "versions", "--where", "stage = 'staging'") == (0, "no version is like that\n", "")
    assert ">>>" in wrong("model", "versions", "--where", "metrics.train_accuracy >")
    assert "id" in wrong("model", "versions", "--where", "id = 'x'")


def test_shown(models, run_cli, run_json):
    run_cli("model", "rule", "iris", "production", RULE)
    run_cli("model", "note", "iris@1.1.0", "looks fine")
    status, shown, errors = run_cli("model", "show", "iris")
    assert (status, errors) == (0, "")
    assert f"production asks for {RULE}" in shown
    assert "iris@1.0.0" in shown
    status, shown, errors = run_cli("model", "show", "iris@latest")
    assert (status, errors) == (0, "")
    for text in ("iris@1.1.0  development, pending", "flowers", "team=loans", "C=1", "model.joblib", "looks fine"):
        assert text in shown
    model = run_json("model", "show", "iris")
    assert model["rules"] == [{"number": 3, "stage": "production", "rule": RULE}]
    assert [one["version"] for one in model["versions"]] == ["1.0.0", "1.1.0"]
    version = run_json("model", "show", "iris@v1.1.0")
    assert version["artifact"]["meta"]["format"] == "joblib"
    assert version["datasets"][0]["name"] == "X"
    assert [one["decision"] for one in version["history"]] == ["registered", "noted"]


@pytest.mark.parametrize(
    "key", ["nobody", "a/b", "..", "x" * 10_000, HOSTILE, "@", "", "iris@", "iris@9.9.9", "iris@a/b"]
)
@pytest.mark.parametrize("command", ["show", "history", "tag", "note"])
def test_what_is_unknown_is_a_line(models, wrong, command, key):
    rest = {"tag": ["a=b"], "note": ["text"]}.get(command, [])
    assert len(wrong("model", command, key, *rest, status=1)) < 300
    assert len(decisions(models)) == 2


def test_damage_is_named(models, run_cli):
    path = models / "registry" / "iris" / "1.json"
    path.write_bytes(path.read_bytes().replace(b"flowers", b"flawers"))
    status, shown, errors = run_cli("model", "show", "iris")
    assert status == 0
    assert "iris@1.1.0" in shown
    assert errors == "tachograph: decision 1 about model iris: it is not what it was when the next decision was made\n"


# -- deciding --


def test_approved_and_rejected(models, run_cli, run_json):
    assert run_cli("model", "approve", "iris@1.1.0", "--reason", "checked")[:2] == (
        0,
        "iris@1.1.0 is approved by you\n",
    )
    assert run_json("model", "reject", "iris@1.0.0")["approval"] == "rejected"
    assert [one["approval"] for one in run_json("model", "versions")] == ["approved", "rejected"]
    approved = run_json("model", "history", "iris@1.1.0")[-1]
    assert (approved["decision"], approved["reason"]) == ("approved", "checked")


def test_promoted_by_rules(models, run_cli, run_json, wrong):
    assert run_cli("model", "rule", "iris", "production", RULE)[1] == f"production asks for {RULE}: rule 3 of iris\n"
    assert run_json("model", "rule", "iris", "production", "--approvals", "1")["rules"][1]["rule"] == "1 approval"
    error = wrong("model", "promote", "iris@1.0.0", "production", status=1)
    assert f"production asks for {RULE}: metrics.train_accuracy is 0.96" in error
    assert "1 approval: there is none" in error
    status, said, errors = run_cli("model", "check", "iris@1.0.0")
    assert (status, errors, len(said.splitlines())) == (1, "", 2)
    run_cli("model", "approve", "iris@1.1.0")
    assert run_cli("model", "check", "iris@1.1.0", "production")[0] == 0
    assert run_json("model", "promote", "iris@1.1.0", "production", "--reason", "good")["stage"] == "production"
    history = run_json("model", "history", "iris")
    assert [one["decision"] for one in history if one.get("refused")] == ["staged"]
    assert "refused: 1.0.0 to production" in run_cli("model", "history", "iris")[1]


def test_promoted_if(models, run_cli, wrong):
    error = wrong("model", "promote", "iris@1.0.0", "staging", "--if", RULE, status=1)
    assert f"{RULE} does not hold: metrics.train_accuracy is 0.96" in error
    assert run_cli("model", "promote", "iris@1.1.0", "--if", RULE, "staging")[:2] == (0, "iris@1.1.0 is in staging\n")
    before = decisions(models)
    assert "column 25: metrics.train_accuracy > >>> > 1" in wrong(
        "model", "promote", "iris@1.1.0", "production", "--if", "metrics.train_accuracy >> 1"
    )
    assert "there is no stage" in wrong("model", "promote", "iris@1.1.0", "prod")
    assert "say which version" in wrong("model", "promote", "iris", "production")
    assert decisions(models) == before


def test_rolled_back(models, run_cli, run_json, wrong):
    assert "no version of 'iris' was in production" in wrong("model", "rollback", "iris", "production", status=1)
    for version in ("1.0.0", "1.1.0"):
        run_cli("model", "promote", f"iris@{version}", "production")
    assert run_cli("model", "rollback", "iris", "production")[1] == "iris@1.0.0 is in production again\n"
    assert "was in production before 1.0.0" in wrong("model", "rollback", "iris", "production", status=1)
    assert run_cli("model", "promote", "iris@1.1.0", "production", "--reason", "forth")[0] == 0
    assert run_json("model", "rollback", "iris", "production")["version"] == "1.0.0"
    assert run_json("model", "show", "iris@production")["version"] == "1.0.0"
    assert "1.0.0 back to production" in run_cli("model", "history", "iris")[1]


def test_what_is_lost_stops_decisions_until_somebody_acknowledges_it(models, run_cli, run_json, wrong):
    run_cli("model", "promote", "iris@1.1.0", "production")
    path = models / "registry" / "iris" / "2.json"
    path.write_bytes(path.read_bytes()[:40])
    for command in (
        ("get", "iris@production", "--to", str(models / "served")), ("check", "iris@1.0.0"), ("show", "iris@latest"),
        ("promote", "iris@1.0.0", "production"), ("register", "better", "iris"), ("rollback", "iris", "production"),
    ):  # fmt: skip
        assert "decision 2 about model 'iris' is lost" in wrong("model", *command, status=1).splitlines()[-1]
    assert not (models / "served").exists()
    assert "decision 2 about model iris" in run_cli("model", "versions", "iris")[2]
    assert run_cli("model", "acknowledge", "iris", "--reason", "no copy")[1] == (
        "iris goes on without what was decided in 2\n"
    )
    assert run_json("model", "register", "better", "iris")["version"] == "1.2.0"  # another decision speaks of 1.1.0


def test_aliases(models, run_cli, run_json, wrong):
    assert run_cli("model", "alias", "iris@1.1.0", "champion")[1] == "champion stands for iris@1.1.0\n"
    run_cli("model", "rule", "iris", "production", RULE)
    assert run_json("model", "alias", "iris", "champion", "--protect")["protected"] == ["champion"]
    error = wrong("model", "alias", "iris@1.0.0", "champion", status=1)
    assert "protected: production asks for metrics.train_accuracy >= 0.97: metrics.train_accuracy is 0.96" in error
    assert "protected" in wrong("model", "alias", "iris", "champion", "--remove", status=1)
    assert "has no alias champion" in wrong("model", "alias", "iris@1.0.0", "champion", "--unprotect", status=1)
    assert run_json("model", "alias", "iris@1.1.0", "champion", "--unprotect")["protected"] == []
    assert run_json("model", "alias", "iris@1.0.0", "champion")["aliases"] == ["champion"]
    assert run_json("model", "alias", "iris", "champion", "--remove")["aliases"] == {}
    assert run_json("model", "alias", "iris@1.1.0", "best", "--protect")["aliases"] == {"best": "1.1.0"}
    for name in ("production", "1.0.0", "v2", "a/b", "x" * 10_000, HOSTILE, "latest"):
        assert "an alias" in wrong("model", "alias", "iris@1.1.0", name)
    assert "has no alias" in wrong("model", "alias", "iris", "x" * 10_000, "--remove", status=1)
    assert "say which version" in wrong("model", "alias", "iris", "champion")


def test_tags_and_notes(models, run_cli, run_json, wrong):
    assert run_json("model", "tag", "iris@1.0.0", "team=", "--json", "owner=ada", "key=a=b")["tags"] == {
        "owner": "ada", "key": "a=b",
    }  # fmt: skip
    assert run_cli("model", "tag", "iris", "task=flowers")[1] == "iris is tagged\n"
    assert run_cli("model", "note", "iris", "all of it")[1] == "iris has the note\n"
    model = run_json("model", "show", "iris")
    assert (model["tags"], [note["text"] for note in model["notes"]]) == ({"task": "flowers"}, ["all of it"])
    assert "key=value" in wrong("model", "tag", "iris", "team")
    assert "must not be empty" in wrong("model", "note", "iris", " ")


def test_rules(models, run_cli, run_json, wrong):
    assert run_cli("model", "rule", "iris", "--list") == (0, "there is no rule\n", "")
    run_cli("model", "rule", "iris", "production", "--no-failed-checks")
    run_cli("model", "rule", "iris", "--not-by-author", "staging")
    listed = run_json("model", "rule", "iris", "--list")
    assert [(rule["number"], rule["stage"]) for rule in listed] == [(3, "production"), (4, "staging")]
    assert len(run_json("model", "rule", "iris", "staging", "--list")) == 1
    assert "not by the one who registered it" in run_cli("model", "rule", "iris", "--list")[1]
    assert "did" in wrong("model", "promote", "iris@1.1.0", "staging", status=1)
    tachograph.open_store().model("iris").version("1.1.0").checked("drift", False, "moved")
    assert "drift failed" in run_cli("model", "check", "iris@1.1.0")[1]
    checked = run_cli("model", "check", "iris@1.1.0", "--json")
    assert (checked[0], checked[2], strict(checked[1])["met"]) == (1, "", False)
    assert run_json("model", "rule", "iris", "--remove", "4")["rules"] == [
        {"number": 3, "stage": "production", "rule": "no failed checks"}
    ]
    before = decisions(models)
    for call, status, says in (
        (["iris", "production", "metrics.x >"], 2, ">>>"),
        (["iris", "production", "--approvals", "0"], 2, "approvals"),
        (["iris", "production", "--approvals", "9" * 20], 2, "approvals"),
        (["iris", "production", "--approvals", "two"], 2, "whole number"),
        (["iris", "production"], 2, "a rule is one of"),
        (["iris", "production", RULE, "--approvals", "2"], 2, "a rule is one of"),
        (["iris", "nowhere", RULE], 2, "there is no stage"),
        (["iris"], 2, "say which stage"),
        (["iris", "--remove", "9"], 1, "no rule 9"),
        (["nobody", "production", RULE], 1, "there is no model"),
    ):
        assert says in wrong("model", "rule", *call, status=status)
    assert decisions(models) == before


# -- files --


def test_got(models, tmp_path, run_cli, run_json, wrong):
    folder = tmp_path / "serving"
    assert run_cli("model", "get", "iris@latest", "--to", str(folder))[:2] == (0, f"{folder / 'model.joblib'}\n")
    kept = tachograph.open_store().model("iris").version("1.1.0").artifact
    assert (folder / "model.joblib").read_bytes() == kept.path().read_bytes()
    again = run_json("model", "get", "iris@1.1.0", "--to", str(folder))
    assert (again["copied"], again["digest"], again["size"]) == (0, kept.digest, kept.size)
    assert "is there, with another content" in wrong("model", "get", "iris@1.0.0", "--to", str(folder), status=1)
    assert (folder / "model.joblib").read_bytes() == kept.path().read_bytes()
    assert "--to" in wrong("model", "get", "iris@1.1.0")
    (tmp_path / "file").touch()
    assert wrong("model", "get", "iris@1.1.0", "--to", str(tmp_path / "file"), status=1)


def test_what_is_damaged_is_not_handed_out(models, tmp_path, wrong):
    artifact = tachograph.open_store().model("iris").version("1.1.0").artifact
    digest = artifact.digest.removeprefix("sha256:")
    blob = models / "blobs" / digest[:2] / digest
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert "does not match its digest" in wrong("model", "get", "iris@1.1.0", "--to", str(tmp_path / "x"), status=1)
    assert list((tmp_path / "x").iterdir()) == []


def test_what_differs(models, run_cli, run_json, wrong):
    status, shown, errors = run_cli("model", "diff", "iris@1.0.0", "iris@latest")
    assert (status, errors) == (0, "")
    assert ["C", "0.1", "1.0"] in [line.split() for line in shown.splitlines()]
    assert "the same: data, packages" in shown
    found = run_json("model", "diff", "iris@1.0.0", "iris@latest")
    assert found["params"] == {"C": {"iris@1.0.0": 0.1, "iris@1.1.0": 1.0}}
    assert set(found["artifact"]) - {"size"} == {"digest"}
    assert found["metrics"]["train_accuracy"]["iris@1.0.0"] == 0.96
    assert (found["data"], found["packages"]) == ({}, {})
    assert "is one version" in wrong("model", "diff", "iris@1.1.0", "iris@latest")


def test_what_differs_where_a_run_is_gone(models, run_cli):
    assert run_cli("rm", "weak", "--yes")[0] == 0
    status, shown, _ = run_cli("model", "diff", "iris@1.0.0", "iris@1.1.0")
    assert status == 0
    assert "not recorded: packages" in shown


# -- texts that somebody wrote --


def test_texts_of_the_command_line_are_shown_as_text(runs, run_cli, capfd):
    """Also where they say what a terminal should do."""
    said = [
        run_cli("model", "register", "good", "iris", "--tag", f"{HOSTILE}={HOSTILE}", "--description", HOSTILE),
        run_cli("model", "tag", "iris", f"{HOSTILE}={HOSTILE}"),
        run_cli("model", "note", "iris@1.0.0", HOSTILE),
        run_cli("model", "approve", "iris@1.0.0", "--reason", HOSTILE),
        run_cli("model", "rule", "iris", "production", f"tags.x = '{HOSTILE}'"),
        run_cli("model", "promote", "iris@1.0.0", "staging", "--if", f"tags.x != '{HOSTILE}'"),
        run_cli("model", "promote", "iris@1.0.0", "production", "--reason", HOSTILE),
        run_cli("model", "check", "iris@1.0.0"),
        run_cli("model", "rule", "iris", "--list"),
        run_cli("model", "history", "iris"),
        run_cli("model", "show", "iris"),
        run_cli("model", "show", "iris@1.0.0"),
    ]
    assert [status for status, *_ in said] == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0]
    for _, output, errors in said:
        assert [character for character in output + errors if not character.isprintable() and character != "\n"] == []
        assert not any(line.startswith("FORGED") for line in (output + errors).splitlines())
    assert said[-1][1].count("FORGED") > 4
    written = json.loads(run_cli("model", "show", "iris@1.0.0", "--json")[1])
    assert written["description"] == HOSTILE


# -- where versions run --


def test_where_says_what_runs_since_when_and_what_ran_before(models, run_cli, run_json):
    assert run_cli("model", "where", "iris")[1].startswith("iris runs nowhere: tachograph model deployed iris@V")
    assert run_cli("model", "deployed", "iris@1.0.0", "eu-prod", "--url", "https://eu.example.com") == (
        0,
        "iris@1.0.0 runs in eu-prod\n",
        "",
    )
    assert run_cli("model", "deployed", "iris@latest", "eu-prod", "--status", "failed")[1] == (
        "iris@1.1.0 was tried in vain in eu-prod\n"
    )
    run_json("model", "deployed", "iris@latest", "eu-prod", "--reason", "better")
    [eu] = run_json("model", "where", "iris")
    assert (eu["environment"], eu["version"], eu["before"], eu["url"]) == ("eu-prod", "1.1.0", "1.0.0", None)
    shown = run_cli("model", "where", "iris")[1].splitlines()
    assert shown[0].split() == ["ENVIRONMENT", "VERSION", "SINCE", "BY", "BEFORE", "URL"]
    assert shown[1].split()[:2] == ["eu-prod", "1.1.0"]
    assert "1.1.0 failed in eu-prod" in run_cli("model", "history", "iris")[1]
    status, _, error = run_cli("model", "delete", "iris@1.1.0", "--yes")
    assert (status, error) == (1, "tachograph: refused: it runs in eu-prod\n")
    assert run_cli("model", "deployed", "iris@1.1.0", "eu-prod", "--status", "retired")[0] == 0
    assert run_json("model", "where", "iris") == []


def test_an_environment_asks_by_rules(models, run_cli):
    asks = run_cli("model", "rule", "iris", "environment:eu-prod", "stage = 'production'")
    assert asks == (0, "environment:eu-prod asks for stage = 'production': rule 3 of iris\n", "")
    status, said, error = run_cli("model", "deployed", "iris@latest", "eu-prod")
    assert (status, said) == (1, "")
    assert error == "tachograph: refused: eu-prod asks for stage = 'production': stage is 'development'\n"
    for wrong in ("environment:", "environment:a/b", "prod"):
        assert run_cli("model", "rule", "iris", wrong, "--approvals", "1")[0] == 2
    assert run_cli("model", "deployed", "iris@latest", "a/b")[0] == 2
