"""Credentials and addresses of buckets, as each cloud's own tools keep them, for the client that opens buckets.

The client reads most environment variables by itself, and asks the machine that it runs on where there are none. What
it doesn't read is added here:

    s3://   profiles (``AWS_PROFILE``) in ``~/.aws/credentials`` and ``~/.aws/config``: keys, region, ``endpoint_url``;
            for one that logs in or takes a role, ``boto3`` is asked, if it is there
    az://   ``AZURE_STORAGE_CONNECTION_STRING``, ``AZURE_STORAGE_ACCOUNT`` and ``AZURE_STORAGE_KEY``; the login of the
            program ``az``
    gs://   nothing: ``GOOGLE_APPLICATION_CREDENTIALS`` and the login of ``gcloud`` are known to the client
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tachograph.errors import Error

KEYS_LAST = timedelta(minutes=5)  # until the file is read anew: some tools put keys there that soon expire
_LOGS_IN = ("role_arn", "sso_session", "sso_start_url", "sso_account_id", "credential_process", "login_session")
_AZURE_SECRETS = ("KEY", "SAS", "TOKEN", "SECRET", "FEDERATED", "MSI", "IDENTITY", "SKIP", "CREDENTIAL")


class Unusable(Error, ValueError):
    """A bucket's URL, or the configuration that is here for it, can't be used."""


def options(scheme: str) -> dict[str, Any]:
    """Arguments for the client that opens buckets of ``scheme``: ``config``, and perhaps ``credential_provider``.

    Raises :class:`Unusable`.
    """
    return {"s3": _s3, "az": _az, "gs": _gs}[scheme]()


def _gs() -> dict[str, Any]:
    return {"config": _present(base_url=os.environ.get("GOOGLE_BASE_URL"))}


def _present(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _variable(*names: str) -> str | None:
    return next((value for name in names if (value := os.environ.get(name))), None)


# -- Amazon S3, and what speaks like it --


def _s3() -> dict[str, Any]:
    profile = _profile()
    config = _present(
        region=_variable("AWS_REGION", "AWS_DEFAULT_REGION") or profile.get("region"),
        endpoint=_variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") or profile.get("endpoint_url"),
    )
    if _variable("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"):
        return {"config": config}
    if profile.get("aws_access_key_id") and profile.get("aws_secret_access_key"):
        return {"config": config, "credential_provider": _keys}
    if any(profile.get(name) for name in _LOGS_IN):
        return {"config": config, "credential_provider": _boto3()}
    return {"config": config}


def _profile() -> dict[str, str]:
    """What the two files say of the profile that is chosen, or of "default"."""
    name = _variable("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    config = _sections("AWS_CONFIG_FILE", "config")
    keys = _sections("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    of_config = config.get(f"profile {name}") or config.get(name or "default")
    of_keys = keys.get(name or "default")
    if name and of_config is None and of_keys is None:
        raise Unusable(f"AWS_PROFILE is {name!r}: there is no such profile in ~/.aws/config or ~/.aws/credentials")
    return {**(of_config or {}), **(of_keys or {})}


def _sections(variable: str, filename: str) -> dict[str, Mapping[str, str]]:
    path = Path(os.path.expanduser(os.environ.get(variable) or f"~/.aws/{filename}"))
    parser = configparser.RawConfigParser(strict=False, default_section="")
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, RuntimeError):
        return {}
    except (configparser.Error, UnicodeDecodeError):
        raise Unusable(f"{path} can't be read: it is not what AWS's own tools write") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _keys() -> dict[str, Any]:
    profile = _profile()
    return {
        "access_key_id": profile["aws_access_key_id"],
        "secret_access_key": profile["aws_secret_access_key"],
        "token": profile.get("aws_session_token"),
        "expires_at": datetime.now(UTC) + KEYS_LAST,
    }


def _boto3() -> Any:
    if importlib.util.find_spec("boto3") is None:
        raise Unusable("the AWS profile logs in or takes a role, which needs boto3: pip install boto3")
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()


# -- Azure --


def _az() -> dict[str, Any]:
    parts = _connection_string()
    config = _present(
        account_name=parts.get("accountname") or _variable("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        account_key=parts.get("accountkey") or _variable("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
        sas_key=parts.get("sharedaccesssignature"),
        endpoint=_az_endpoint(parts) or _variable("AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT"),
    )
    if not config.get("account_name"):
        raise Unusable("which account's container that is is not known: set AZURE_STORAGE_ACCOUNT")
    if not _has_secret(config) and shutil.which("az"):
        config["use_azure_cli"] = "true"
    return {"config": config}


def _has_secret(config: Mapping[str, str]) -> bool:
    named = any(name.startswith("AZURE_") and any(part in name for part in _AZURE_SECRETS) for name in os.environ)
    return named or "account_key" in config or "sas_key" in config


def _connection_string() -> dict[str, str]:
    parts = (part.partition("=") for part in os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in parts if name.strip()}


def _az_endpoint(parts: Mapping[str, str]) -> str | None:
    suffix = parts.get("endpointsuffix")
    if parts.get("blobendpoint") or not suffix:
        return (parts.get("blobendpoint") or "").rstrip("/") or None
    protocol = parts.get("defaultendpointsprotocol", "https")
    return f"{protocol}://{parts.get('accountname')}.blob.{suffix}"
