"""Secrets are found by name and by shape; the words of machine learning are not mistaken for them."""

import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tachograph.redaction import (
    REDACTED,
    is_private_text,
    is_secret_name,
    redact_argv,
    redact_mapping,
    redact_text,
    redact_url,
)

AMAZON = "AKIA" + "ABCDEFGH12345678"
GITHUB = "ghp_" + "a1B2c3D4" * 5
HUGGING_FACE = "hf_" + "AbCdEfGhIj" * 4
OPENAI = "sk-proj-" + "abc123DEF456" * 3
WEB_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
HEXADECIMAL = "0123456789abcdef" * 2 + "01234567"
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----"

SECRET_NAMES = """
    password PASSWORD passwd db_password mysql_pwd DB_PASS passphrase secret client_secret clientSecret
    AWS_SECRET_ACCESS_KEY aws_access_key_id access_key private_key ssh_key apikey api_key API-KEY apiKey
    openai.api_key WANDB_API_KEY OPENAI_KEY token TOKEN access_token accessToken hf_token HF_TOKEN GITHUB_TOKEN
    GITHUB_TOKEN_2 auth_tokens bot_token token_value auth_token authtoken use_auth_token auth basic_auth
    authorization credential credentials session_cookie cookie jwt SLURM_JWT AccountKey --api-key dbpassword
"""
HARMLESS_NAMES = """
    max_tokens max_new_tokens tokens tokenizer tokenizer_name num_tokens n_token token_count token_ids token_type_ids
    token_embedding token_dropout vocab_tokens pad_token pad_token_id eos_token bos_token unk_token mask_token sep_token
    cls_token padToken decoder_start_token per_token ms/token author authors key keys sort_key primary_key public_key
    cache_key query_key_value keyboard monkey batch_size compass passes forward_pass num_passes bypass session
    session_id secretary PWD OLDPWD auth_method learning_rate lr "" 17 été
"""


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", HARMLESS_NAMES.split())
def test_harmless_names(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize("secret", [AMAZON, GITHUB, HUGGING_FACE, OPENAI, WEB_TOKEN, PRIVATE_KEY])
@pytest.mark.parametrize("around", ["{}", "using {} now", "x={}", "'{}'", "(see {}).", "https://host/{}/x"])
def test_well_known_shapes(secret: str, around: str) -> None:
    assert redact_text(around.format(secret)) == around.format("[redacted]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--api-key=abc", "--api-key=[redacted]"),
        ("run with --password abc --lr 0.1", "run with --password [redacted] --lr 0.1"),
        ("TOKEN=abc", "TOKEN=[redacted]"),
        ("password: hunter2, user: me", "password: [redacted], user: me"),
        ("password=12345", "password=[redacted]"),
        ("login(token=abc, retries=3)", "login(token=[redacted], retries=3)"),
        ("{'token': 'abc', 'x': 1}", "{'token': '[redacted]', 'x': 1}"),
        ('{"password": "a\\"b c", "y": 2}', '{"password": "[redacted]", "y": 2}'),
        ('"{\\"password\\": \\"abc\\"}"', '"{\\"password\\": \\"[redacted]\\"}"'),
        ('os.environ["HF_TOKEN"]="abc"', 'os.environ["HF_TOKEN"]="[redacted]"'),
        ("token: str | None = 'abc'", "token: str | None = '[redacted]'"),
        ("password='never closed", "password='[redacted]"),
        ("Authorization: Basic dXNlcjpw", "Authorization: [redacted]"),
        ("Cookie: a=b; c=d", "Cookie: [redacted]"),
        ("sent Bearer xyz", "sent Bearer [redacted]"),
        (
            f"machine api.wandb.ai login user password {HEXADECIMAL}",
            "machine api.wandb.ai login user password [redacted]",
        ),
        (f"API key is: {HEXADECIMAL}", "API key is: [redacted]"),
        ("at postgresql://u:p@ss@h:5432/db", "at postgresql://h:5432/db"),
        ("INFO: password=abc", "INFO: password=[redacted]"),
        ('command="run --password abc" x=1', 'command="run --password [redacted]" x=1'),
        ("a=b,token=abc", "a=b,token=[redacted]"),
        ("AccountName=x;AccountKey=abc==", "AccountName=x;AccountKey=[redacted]"),
        (PRIVATE_KEY[:40], "[redacted]"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert redact_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "epoch 3/10 step 1200: loss=0.2134 lr=1.0e-03 1234.5 samples/s",
        "tokens/s: 1234 max_tokens=512 ms/token=12.3 loss per token: 2.31",
        "pad_token='<pad>' eos_token=</s> mask_token: [MASK] token: 17 token=None",
        "downloading https://huggingface.co/gpt2/resolve/main/tokenizer.json?download=true",
        f"commit {HEXADECIMAL}",
        "pip install sk-learn-contrib-something-long",
        "git@host:team/repository.git ssh://git@host/team/repository.git me@example.com",
        "use_auth_token=True password=",
        '"credentials": {"user": "x"}',
    ],
)
def test_harmless_texts_stay(text: str) -> None:
    assert redact_text(text) == text


def test_in_source_code_only_literals_are_secrets() -> None:
    code = "token = tokenizer.decode(ids)\npassword = read()\nself.auth = auth\nkey: str = key"
    assert redact_text(code, code=True) == code
    assert redact_text(f'api_key = "abc"\nx = "{GITHUB}"', code=True) == 'api_key = "[redacted]"\nx = "[redacted]"'


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:pass@host/x", "https://host/x"),
        ("https://abcdef@github.com/team/x.git", "https://github.com/team/x.git"),
        ("git@host:path", "git@host:path"),
        ("ssh://git@host/path", "ssh://git@host/path"),
        ("ssh://git:pw@host/path", "ssh://host/path"),
        ("https://h/x?token=abc&page=2", "https://h/x?token=[redacted]&page=2"),
        ("https://h/x?page=2&key=abc#access_token=z", "https://h/x?page=2&key=[redacted]#access_token=[redacted]"),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=ab&x=1",
            "https://b.s3.amazonaws.com/k?X-Amz-Signature=[redacted]&x=1",
        ),
        (
            "https://a.blob.core.windows.net/c?sv=2024&sig=ab%3D",
            "https://a.blob.core.windows.net/c?sv=2024&sig=[redacted]",
        ),
        ("/home/me/data", "/home/me/data"),
        ("", ""),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert redact_url(url) == expected


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["train.py", "--api-key=a b", "--lr=0.1"], ["train.py", "--api-key=[redacted]", "--lr=0.1"]),
        (["train.py", "--password", "abc", "x"], ["train.py", "--password", "[redacted]", "x"]),
        (["--password", "-abc"], ["--password", "[redacted]"]),
        (["--use-auth", "--epochs", "3"], ["--use-auth", "--epochs", "3"]),
        (["TOKEN=abc", "model.token=abc"], ["TOKEN=[redacted]", "model.token=[redacted]"]),
        (["--max-tokens", "512", "--pad-token", "<pad>"], ["--max-tokens", "512", "--pad-token", "<pad>"]),
        (["--data", "https://u:p@h/x", GITHUB], ["--data", "https://h/x", "[redacted]"]),
        (["--token"], ["--token"]),
        ([], []),
    ],
)
def test_argv(argv: list[str], expected: list[str]) -> None:
    assert redact_argv(argv) == expected


def test_mappings() -> None:
    settings = {
        "lr": 0.1,
        "api_key": "abc",
        "token": 17,
        "password": 17,
        "use_auth_token": True,
        "secret": None,
        "auth": {"user": "me", "retries": 3},
        "model": {"pad_token": "<pad>", "hub_token": "abc", "layers": [{"api_key": "x"}, "Bearer abc"]},
        3: "https://u:p@h/x",
    }
    assert redact_mapping(settings) == {
        "lr": 0.1,
        "api_key": "[redacted]",
        "token": 17,
        "password": "[redacted]",
        "use_auth_token": True,
        "secret": None,
        "auth": {"user": "[redacted]", "retries": 3},
        "model": {
            "pad_token": "<pad>",
            "hub_token": "[redacted]",
            "layers": [{"api_key": "[redacted]"}, "Bearer [redacted]"],
        },
        3: "https://h/x",
    }


# Letters that no rule takes for the end of a value or for something harmless.
secrets = st.text(string.ascii_letters + string.digits + "-_.+/@", min_size=8).filter(
    lambda text: not text[0].isdigit()
)


@given(
    secrets,
    st.sampled_from(SECRET_NAMES.split()),
    st.sampled_from(["{}={}", "INFO: {}: {}", '"{}": "{}"', "x {} = '{}' y"]),
)
def test_a_named_secret_never_stays(secret: str, name: str, form: str) -> None:
    assert secret not in redact_text(form.format(name, secret + "Zq")).replace(name, "")


@given(st.text(st.sampled_from("tokenpaswrdky=:\"'[]{}()\\ -_.@/?&<>1\n") | st.characters(), max_size=60))
@example("Authorization: password=[x]")
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(redact_text(text), str)
    assert isinstance(redact_text(text, code=True), str)
    assert isinstance(redact_url(text), str)


@pytest.mark.parametrize(
    "text", ["--api-key=abc", "Authorization: a b", "password: [x]", "https://u@h?key=1", "TOKEN='a'"]
)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


HOSTILE = [
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN A", "://", "a://b", "https://a@", "://?a=", "?token="),
    *("sk-", "eyJ", "eyJ-", "eyJaaaaa.", "hf_", "AKIA", "ghp_", "password=", "password ", "--password ", "token:"),
    *('\\"', 'password="\\', "password='", "Bearer ", "key ", "cookie:", "a=", "-", "A", "Aa", "[", "x.", "Aa1_", " "),
    *(
        "a.b-",
        "12-",
        "curl -u a",
        "docker login ",
        "name: a value",
        "ENV a ",
        "'a=",
        "mysql -",
        "# a:",
        "| a ",
        "<a>",
        "SG.aaaaaaaaaaaaaaaaaa.",
        "1:AA",
    ),
]


def seconds_of(piece: str, length: int) -> float:
    """Processor seconds for a text of a hostile piece again and again."""
    text = piece * (length // len(piece)) + " token key pass auth cookie :// bearer -----begin eyj hf_"
    started = time.thread_time()
    redact_text(text)
    redact_argv([text, f"--{text}"])
    is_secret_name(text)
    is_private_text(text)
    return time.thread_time() - started


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    tries = (seconds_of(piece, 200_000) < 24 * seconds_of(piece, 25_000) + 0.1 for _ in range(3))
    assert any(tries)  # on a busy machine one may be slow; quadratic time would be 64 times as much, in each


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f'wandb.login(key="{HEXADECIMAL}")', 'wandb.login(key="[redacted]")'),
        ('os.environ.get("API_KEY", "x1")', 'os.environ.get("API_KEY", "[redacted]")'),
        ('os.environ.setdefault("HF_TOKEN", "x1")', 'os.environ.setdefault("HF_TOKEN", "[redacted]")'),
        ('os.getenv("HF_TOKEN", "x1")', 'os.getenv("HF_TOKEN", "[redacted]")'),
        (
            'p.add_argument("--password", default="x1", help="h")',
            'p.add_argument("--password", default="[redacted]", help="h")',
        ),
        ('PASSWORD = """x1"""', 'PASSWORD = """[redacted]"""'),
        ('password = "x1" "y1"', 'password = "[redacted]" "[redacted]"'),
        ("password = 'x1' + 'y1'", "password = '[redacted]' + '[redacted]'"),
        ('auth=("bob", "x1")', 'auth=("[redacted]", "[redacted]")'),
        ('{"password": {"value": "x1"}}', '{"password": {"value": "[redacted]"}}'),
        ('"tokens": ["a1", "b1"]', '"tokens": ["[redacted]", "[redacted]"]'),
        ('tokens = ["the1", "9f8a7b6c5d", "42"]', 'tokens = ["the1", "[redacted]", "42"]'),
        ('tokens = "300B"', 'tokens = "300B"'),
        ('headers = {"Authorization": f"Bearer {token}"}', 'headers = {"Authorization": f"Bearer {token}"}'),
        ('tokens = ["the", "cat"]\nkey=jax.random.PRNGKey(0)', 'tokens = ["the", "cat"]\nkey=jax.random.PRNGKey(0)'),
    ],
)
def test_literals_that_a_name_binds_from_afar(code: str, expected: str) -> None:
    assert redact_text(code, code=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("passwords: [x1, y1 z]  # both\nport: [1]", "passwords: [[redacted], [redacted]]  # both\nport: [1]"),
        ("+  api_keys: ['x1', \"y1\"]", "+  api_keys: ['[redacted]', \"[redacted]\"]"),
        ("tokens:\n  - 9f8a7b6c5d\n  - the", "tokens:\n  - [redacted]\n  - the"),
        ("tokens: [the, 9f8a7b6c5d]", "tokens: [the, [redacted]]"),
        ("tokens: 1_500_000_000\ntokens=15000.5M/s", "tokens: 1_500_000_000\ntokens=15000.5M/s"),
    ],
)
def test_lists_under_a_name(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact_text(expected) == expected


def test_a_list_in_a_mapping() -> None:
    assert redact_mapping({"tokens": ["the", "9f8a7b6c5d"], "words": ["9f8a7b6c5d"]}) == {
        "tokens": ["the", REDACTED], "words": ["9f8a7b6c5d"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["pass: x1y", "pw: x1y", "DB_PASS=x1y", "PASS=x1y", "machine h login u\n  password x1y"]
)
def test_short_names_and_netrc(text: str) -> None:
    assert redact_text(text) == text.replace("x1y", "[redacted]")
