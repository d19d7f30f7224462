"""What looks like a secret, in one list: nothing that the project prints or stores keeps it.

By how it begins, as those who issue it write; by the name that it stands behind; by its place in an address. The list
is this project's own: detect-secrets, the library for this, reads repositories line by line through plug-ins, some of
which guess by entropy, brings requests, and knows neither Anthropic's, Hugging Face's, NVIDIA's nor W&B's.
"""

import re

MARK = "[a secret was here]"
BY_BEGINNING = (
    r"sk-(?=[\w-]{0,200}\d)[\w-]{16,}",  # OpenAI (also sk-proj- and others), Anthropic (sk-ant-), OpenRouter
    r"(?:gsk|xai|r8|csk|fw)[_-][A-Za-z0-9]{20,}",  # Groq, xAI, Replicate, Cerebras, Fireworks
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{20,}",  # GitHub
    r"gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[\w.-]{16,}",  # GitLab
    r"xox[abceoprs][.-][\w.-]{10,}|xapp-\d-[\w-]{10,}",  # Slack
    r"AIza[\w-]{30,}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,}",  # Google
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}",  # AWS
    r"hf_[A-Za-z0-9]{10,}(?!\w)|api_org_[A-Za-z0-9]{10,}",  # Hugging Face
    r"wandb_v\d+_[\w-]{20,}|local-[\w-]{0,80}[0-9a-f]{40}",  # Weights & Biases; the older 40 digits are BARE_KEY
    r"nvapi-[\w-]{16,}",  # NVIDIA
    r"pypi-AgE[\w-]{20,}|npm_[A-Za-z0-9]{30,}|dckr_pat_[\w-]{20,}",  # PyPI, npm, Docker
    r"[sr]k_live_[A-Za-z0-9]{16,}|SG\.[\w-]{16,}\.[\w-]{16,}",  # Stripe, SendGrid
    r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",  # a JWT
)
NAMES = r"(?:API|ACCESS|SECRET|PRIVATE|ACCOUNT|AUTH)_?-?KEY|PASSWORD|PASSWD|PASSPHRASE|(?:AUTH|ACCESS|SECRET)_?-?TOKEN"
IN_TEXT = re.compile(
    "|".join(
        (
            rf"\b(?:{'|'.join(BY_BEGINNING)})",
            # the block of a private key, to its end or to that of the text
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[^\"'<>]*?(?:-----END [A-Z0-9 ]{0,40}-----|(?=[\"'<>])|\Z)",
            r"(?<=hooks\.slack\.com/services/)[\w/]+",
            # user:password@host, and what an address passes on
            r"(?<=://)[^/\s@\"'<>]{0,500}:[^/\s@\"'<>]{0,500}(?=@)",
            r"(?i:[?&;](?:[\w-]{0,40}(?:token|signature|api_?key|password|secret|credential)|key|sig|auth)=)"
            r"(?!\[)(?P<passed>[^&\s#\"'<>]+)",
            r"(?i:\b(?:bearer|basic) )(?=[\w.~+/-]{0,500}\d)(?P<header>[\w.~+/-]{16,}=*)",
            # NAME=value and "name": "value"
            rf"(?i:\b\w{{0,60}}(?:{NAMES})\d{{0,3}}[\"']?\s?[=:]\s?[\"']?)(?!\[|\$)(?P<named>[^\s\"',;&<>]{{8,}})",
            r"\b[A-Z0-9_]{0,60}(?:TOKEN|SECRET|CREDENTIALS?|PASS)=[\"']?(?!\[|\$)(?P<variable>[^\s\"',;&<>]{8,})",
        )
    )
)
BARE_KEY = re.compile(r"\b[0-9a-f]{40}\b")  # as Weights & Biases'; in texts it is mostly git's
NAME = re.compile(  # words at its end or before an underscore: NCCL_IB_PKEY and TOKENIZERS_PARALLELISM are none
    r"(TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|COOKIES?|JWT|(API|ACCESS|PRIVATE)_?KEYS?)\d*(_|$)"
    r"|(^|_)(KEYS?|PASS|AUTH|AUTHORIZATION)\d*(_|$)",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """The text with MARK in the place of each secret; what stands around it stays."""

    def mark(found: re.Match[str]) -> str:
        secret = next((group for group in found.groupdict().values() if group is not None), found[0])
        return found[0].removesuffix(secret) + MARK

    return IN_TEXT.sub(mark, text)


def is_secret(value: str) -> bool:
    """It looks like one, whatever its name."""
    return bool(IN_TEXT.search(value) or BARE_KEY.search(value))


def is_secret_name(name: str) -> bool:
    """A variable of that name holds a secret."""
    return bool(NAME.search(name))
