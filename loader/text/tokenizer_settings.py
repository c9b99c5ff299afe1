"""Checks that the files beside tokenizer.json describe the same tokenizer; if not, the model is rejected.

Over the years tokenizers kept their settings in tokenizer_config.json, special_tokens_map.json and added_tokens.json,
and transformers builds a tokenizer from all of them. Some of its classes take only the vocabulary from tokenizer.json,
and everything else from the other files or their own defaults. We use tokenizer.json alone, so the files must agree.
(If there is a tokenizer.json, nobody reads vocab.txt, merges.txt or other forms of the vocabulary.)
"""

import os

from ..errors import ModelCorruptError, ModelUnsupportedError
from ..model.config_files import mapping, read_json, transformer_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final, NoReturn

    Token = tuple[int | None, tuple[object, ...]]
    """The number of an added token, or None if no file gives it, and its flags."""

_AS_IT_IS: "Final" = frozenset({"PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"})
"""Classes that use tokenizer.json as it is, named without the suffix ``Fast``."""
_CLASS_OF_MODEL: "Final" = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
}
"""By ``model_type`` of config.json, if no file names a class."""
_NAMED: "Final" = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FLAGS: "Final" = ("lstrip", "rstrip", "single_word", "normalized")

_BERT_NAMES: "Final" = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]"}
_ROBERTA_NAMES: "Final" = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
_SETTINGS: "Final" = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None}
"""The defaults of transformers for settings missing from tokenizer_config.json, whatever tokenizer.json says."""
_WORDPIECE: "Final" = {
    "model": "WordPiece",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "normalizer": "BertNormalizer",
    "clean_text": True,
    "pre_tokenizer": "BertPreTokenizer",
}


class _Class:
    """A transformers class that rebuilds its tokenizer instead of using tokenizer.json.

    Attributes:
        told: what tokenizer_config.json may set, with the defaults; by the names of ``flattened``.
        fixed: what it always sets.
        names: its default named tokens.
        ends: the names of the tokens that it puts before and after a text.
    """

    __slots__ = ("ends", "fixed", "names", "told")

    def __init__(
        self, told: "dict[str, object]", fixed: "dict[str, object]", names: dict[str, str], ends: tuple[str, str]
    ) -> None:
        self.told = told
        self.fixed = fixed
        self.names = names
        self.ends = ends


_BERT = _Class(
    {**_SETTINGS, "unk_token": "[UNK]"}, _WORDPIECE, _BERT_NAMES | {"mask_token": "[MASK]"}, ("cls_token", "sep_token")
)
_ANGLED = _ROBERTA_NAMES | {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
_CLASSES: "Final" = {
    "BertTokenizer": _BERT,
    "DistilBertTokenizer": _BERT,
    "ElectraTokenizer": _BERT,
    "MPNetTokenizer": _Class(_BERT.told, _WORDPIECE, _ANGLED | {"unk_token": "[UNK]"}, ("cls_token", "sep_token")),
    "RobertaTokenizer": _Class(
        {"add_prefix_space": False},
        {
            "model": "BPE",
            **dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "normalizer")),
            **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False),
            "pre_tokenizer": "ByteLevel",
            "use_regex": True,
        },
        _ANGLED,
        ("cls_token", "sep_token"),
    ),
    "XLMRobertaTokenizer": _Class(
        {"add_prefix_space": True},
        {
            "model": "Unigram",
            "unk_id": 3,
            "byte_fallback": False,
            "normalizer": "Precompiled",
            "pre_tokenizer": "WhitespaceSplit, Metaspace",
            "replacement": "\u2581",
        },
        _ANGLED,
        ("bos_token", "eos_token"),
    ),
}


class Described:
    """What tokenizer.json says.

    Attributes:
        settings: as ``flattened`` returns them.
        longest: the maximum number of tokens in the file itself, special tokens included, or None.
        added: the added tokens by their text.
        ends: numbers of the special tokens before and after a text; None if the text is processed otherwise.
        number: returns the number of a token, or None.
    """

    __slots__ = ("added", "ends", "longest", "number", "settings")

    def __init__(
        self,
        settings: "dict[str, object]",
        longest: int | None,
        added: "dict[str, Token]",
        ends: tuple[list[int], list[int]] | None,
        number: "Callable[[str], int | None]",
    ) -> None:
        self.settings = settings
        self.longest = longest
        self.added = added
        self.ends = ends
        self.number = number


def flattened(file: "dict[str, Any]") -> "dict[str, object]":
    """Return the settings of a parsed tokenizer.json, or of its parts, by their names in transformers."""
    model, normalizer, splitter = (file.get(name) or {} for name in ("model", "normalizer", "pre_tokenizer"))
    found: dict[str, object] = {key: model[key] for key in model if key not in {"type", "vocab", "merges"}}
    found["model"] = model.get("type")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        found[key] = found.get(key) or None
    found["truncation_side"] = str((file.get("truncation") or {}).get("direction", "right")).lower()
    found["split_special_tokens"] = False
    found["normalizer"] = _kinds(normalizer, "normalizers")
    if found["normalizer"] == "BertNormalizer":
        names = {"lowercase": "do_lower_case", "handle_chinese_chars": "tokenize_chinese_chars"}
        found |= {names.get(key, key): normalizer[key] for key in normalizer if key != "type"}
    elif found["model"] == "WordPiece":
        found["do_lower_case"] = None  # transformers would build BERT's normalizer all the same
    found["pre_tokenizer"] = _kinds(splitter, "pretokenizers")
    parts = splitter.get("pretokenizers") or [splitter]
    if found["pre_tokenizer"] == "ByteLevel":
        found |= {key: parts[0].get(key) for key in ("add_prefix_space", "use_regex")}
    elif found["pre_tokenizer"] == "WhitespaceSplit, Metaspace":
        found["replacement"] = parts[1].get("replacement")
        scheme = parts[1].get("prepend_scheme")
        found["add_prefix_space"] = {"always": True, "never": False}.get(scheme, scheme)
    return found


def _kinds(part: "dict[str, Any]", list_name: str) -> str | None:
    """Return the type of a part, or the types of a sequence of them."""
    kinds = [
        str(one.get("type"))
        for one in part.get(list_name) or [part]
        # This merges several spaces into one, which makes no difference if spaces separate words.
        if one and (one.get("type"), one.get("pattern")) != ("Replace", {"Regex": " {2,}"})
    ]
    return ", ".join(kinds) or None


def flags_of(token: "dict[str, Any]") -> "tuple[object, ...]":
    """Return the flags of an added token, with the library's defaults for missing ones."""
    defaults = {"normalized": not token.get("special", False)}
    return tuple(token.get(flag, defaults.get(flag, False)) for flag in _FLAGS)


def _class_name(folder: str, told: "dict[str, Any]", model_type: str | None) -> str | None:
    """Return the name of the class that transformers would use, without the suffix ``Fast``."""
    name = told.get("tokenizer_class")
    if not name:
        config = mapping(read_json(folder, "config.json"), folder, "config.json")
        name = config.get("tokenizer_class") or _CLASS_OF_MODEL.get(model_type or "")
    if not isinstance(name, (str, type(None))):
        raise ModelCorruptError(f"{folder}: the tokenizer_class {name!a} is not a name. Fetch the model again.")
    return name.removesuffix("Fast") if name else None


def replaced_parts(folder: str, model_type: str | None) -> "dict[str, Any]":
    """Return the parts of tokenizer.json that transformers replaces by others, whatever the file says.

    XLM-R's class always cuts texts at blanks first; older files, such as bge-m3's, do not say so.

    Args:
        folder: where the files are.
        model_type: the architecture, as config.json names it.

    Raises:
        ModelCorruptError: a file is damaged.
    """
    told = mapping(read_json(folder, "tokenizer_config.json"), folder, "tokenizer_config.json")
    if _class_name(folder, told, model_type) != "XLMRobertaTokenizer":
        return {}
    scheme = "always" if told.get("add_prefix_space", True) else "never"
    mark = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": True}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, mark]}}


def check(folder: str, found: Described, model_type: str | None) -> None:
    """Reject a tokenizer if the files beside tokenizer.json contradict it.

    Args:
        folder: where the files are.
        found: what tokenizer.json says.
        model_type: the architecture, as config.json names it.

    Raises:
        ModelUnsupportedError: a setting or a token differs, or is not supported.
        ModelCorruptError: a file is damaged.
    """
    _Comparison(folder, found, model_type).run()


def check_static(folder: str, found: Described) -> None:
    """Reject a static model's tokenizer that truncates texts differently from ours; it ignores the other files.

    Raises:
        ModelUnsupportedError: it truncates on the left.
        ModelCorruptError: it leaves no token.
    """
    if found.settings["truncation_side"] != "right":
        raise ModelUnsupportedError(f"{folder}/tokenizer.json truncates texts on the left, which is not supported.")
    longest = found.longest
    if longest is not None and (type(longest) is not int or longest < 1):
        raise ModelCorruptError(
            f"{folder}/tokenizer.json sets max_length to {longest!a}, but it must be a positive integer."
        )


class _Comparison:
    def __init__(self, folder: str, found: Described, model_type: str | None) -> None:
        self._folder = folder
        self._found = found
        self._told = self._read("tokenizer_config.json")
        self._added_by_number: dict[str, Token] | None = None
        if "added_tokens_decoder" not in self._told:
            # Only then does transformers read the older files, and their values win.
            self._told = self._told | self._read("special_tokens_map.json")
        else:
            self._added_by_number = self._decoder()
        self._class_name = _class_name(folder, self._told, model_type)
        self._class = _CLASSES.get(self._class_name or "")

    def run(self) -> None:
        self._check_files()
        self._check_settings()
        self._check_tokens()
        self._check_ends()

    def _read(self, name: str) -> "dict[str, Any]":
        return mapping(read_json(self._folder, name), self._folder, name)

    def _check_files(self) -> None:
        for key in ("auto_map", "init_inputs", "fast_tokenizer_files"):
            if self._told.get(key):
                self._refuse(f"tokenizer_config.json sets {key}, which is not supported")
        file, settings = transformer_settings(self._folder)
        if settings.get("do_lower_case") and self._found.settings.get("do_lower_case") is not True:
            self._refuse(f"{file} sets do_lower_case to {settings['do_lower_case']!a}, but tokenizer.json does not")

    def _check_settings(self) -> None:
        settings = self._found.settings
        told: dict[str, object] = {"truncation_side": settings["truncation_side"], "split_special_tokens": False}
        fixed: dict[str, object] = {"truncation_side": "right"}
        if self._class is not None:
            told |= self._class.told
            fixed |= self._class.fixed
            if fixed.get("normalizer") == "Precompiled" and settings["normalizer"] is None:
                del fixed["normalizer"]  # made from the file's normalizer, if it has one
        elif self._class_name in _AS_IT_IS or self._class_name is None:
            told |= {key: settings[key] for key in (*_SETTINGS, "add_prefix_space") if key in settings}
        else:
            told |= {key: value for key, value in _SETTINGS.items() if key in settings}
            told |= {"add_prefix_space": False} if settings["pre_tokenizer"] == "ByteLevel" else {}
        for key, default in told.items():
            said = _content(self._told.get(key, default))
            if said != settings.get(key):
                self._refuse(
                    f"tokenizer_config.json sets {key} to {said!a}{'' if key in self._told else ' by default'}, "
                    f"but tokenizer.json sets it to {settings.get(key)!a}"
                )
        for key, value in fixed.items():
            if settings.get(key) != value:
                who = self._class_name or "every tokenizer"
                self._refuse(f"tokenizer.json sets {key} to {settings.get(key)!a}, but {who} must have {value!a}")

    def _check_tokens(self) -> None:
        wanted, found = self._wanted_tokens(), self._found.added
        for content in [*wanted, *found]:
            ours, theirs = found.get(content), wanted.get(content)
            if ours is None or theirs is None:
                where = "only tokenizer.json has" if theirs is None else "tokenizer.json does not have"
                self._refuse(f"{where} the added token {content!a}")
            number, flags = theirs
            if flags != ours[1] or number not in {None, ours[0]}:
                self._refuse(f"tokenizer_config.json and tokenizer.json disagree on the added token {content!a}")

    def _wanted_tokens(self) -> "dict[str, Token]":
        """Return the added tokens that transformers reads from all files."""
        found = self._found.added
        wanted = self._added_by_number
        if wanted is None:
            wanted = {}
            special = {content for _, content in self._named()}
            for content, number in self._read("added_tokens.json").items():
                wanted[content] = found.get(content, (number, flags_of({"special": content in special})))
                if number != wanted[content][0]:
                    self._refuse(
                        f"added_tokens.json gives {content!a} the number {number!a}, but tokenizer.json differs"
                    )
            wanted |= found
        elif self._class is None:
            wanted = found | wanted
        for token, content in self._named():
            if content not in wanted:
                wanted[content] = (None, flags_of(token if isinstance(token, dict) else {"special": True}))
        return wanted

    def _named(self) -> "list[tuple[object, str]]":
        """Return the tokens that a file or the class names, each as given and as its text."""
        named: list[object] = []
        for name in {**dict.fromkeys(_NAMED), **self._told}:
            value = self._told.get(name, self._class.names.get(name) if self._class and name in _NAMED else None)
            if name in _NAMED or (name.endswith("_token") and isinstance(value, (str, dict))):
                named.append(value)
        extra = self._told.get("extra_special_tokens") or self._told.get("additional_special_tokens") or []
        named += extra.values() if isinstance(extra, dict) else extra if isinstance(extra, list) else [extra]
        texts = [(token, _content(token)) for token in named if token is not None]
        for token, content in texts:
            if not isinstance(content, str):
                self._refuse(f"tokenizer_config.json names {token!a}, which is not a token")
        return [(token, str(content)) for token, content in texts]

    def _decoder(self) -> "dict[str, Token]":
        """Return the added tokens of tokenizer_config.json by their text."""
        tokens: dict[str, Token] = {}
        try:
            for number, token in self._told["added_tokens_decoder"].items():
                tokens[token["content"]] = (int(number), flags_of(token))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ModelCorruptError(
                f"{self._folder}/tokenizer_config.json has an invalid added_tokens_decoder: {error!r}."
            ) from error
        return tokens

    def _check_ends(self) -> None:
        """Compare the tokens around a text; unknown classes may give them by the usual two names."""
        ends, names = self._found.ends, self._class.ends if self._class else ("cls_token", "sep_token")
        if self._class is None and (self._class_name in _AS_IT_IS or self._class_name is None or not ends):
            return
        for side, name in enumerate(names):
            token = _content(self._told.get(name, self._class.names[name] if self._class else None))
            if not isinstance(token, str) and self._class is None:
                continue
            if ends is None or not isinstance(token, str) or ends[side] != [self._found.number(token)]:
                self._refuse(f"tokenizer_config.json sets {name} to {token!a}, which differs from tokenizer.json")

    def _refuse(self, what: str) -> "NoReturn":
        raise ModelUnsupportedError(
            f"{os.path.join(self._folder, '')}{what}. Use engine='sentence_transformers', or save the tokenizer again."
        )


def _content(token: object) -> object:
    """Return the text of a token that is written as an object; anything else unchanged."""
    return token.get("content") if isinstance(token, dict) else token
