"""What the engine numpy does not compute is refused by name, and which engine computes it instead."""

import json
import shutil

import numpy as np
import pytest

from loader import LoaderError, ModelUnsupportedError, OptimizedEmbeddingLoader
from tests.loader.engines.comparing import TEXTS, TOLERANCE, in_json, numpy_provider
from tests.support.tiny_models import (
    OTHERS,
    Tiny,
    edit_json,
    edit_tensors,
    modules,
    plain_model,
    unit,
)


def layers_between(kind):
    """Return a change that puts a module of sentence-transformers between transformer and pooling."""

    def change(folder):
        from sentence_transformers import SentenceTransformer

        parts, plain = modules(), plain_model(folder)
        extra, size = (parts.LSTM(32, 16), 32) if kind == "LSTM" else (parts.CNN(32, 10), 30)
        built = [plain[0], extra, parts.Pooling(size)]
        shutil.rmtree(folder)
        SentenceTransformer(modules=built, device="cpu").save_pretrained(str(folder), create_model_card=False)

    return change


def module_list(change):
    """Return a change of modules.json: ``change(modules)`` in place."""

    def apply(folder):
        path = folder / "modules.json"
        listed = json.loads(path.read_text())
        change(listed)
        path.write_text(json.dumps(listed))

    return apply


def normalize_before_dense(listed):
    listed[2], listed[3] = listed[3], listed[2]


def add_tensor(tensors):
    tensors["encoder.layer.0.adapter.weight"] = tensors["embeddings.LayerNorm.weight"].clone()


def drop_tensor(tensors):
    del tensors["encoder.layer.1.output.dense.bias"]


def cut_tensor(tensors):
    name = "encoder.layer.1.output.dense.bias"
    tensors[name] = tensors[name][:-1].clone()


def flags(**values):
    """Return a change: pooling by flags, as older models have it."""
    settings = {"word_embedding_dimension": 32, **values}
    return lambda folder: (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))


def pickled_dense(folder):
    from safetensors.torch import load_file
    from torch import save

    path = folder / "2_Dense" / "model.safetensors"
    save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()


BERT = Tiny("bert")
DENSE = Tiny("bert", dense=(("Tanh", True),), normalize=True)
TOKENIZER = "tokenizer_config.json"
REFUSED = {
    "position_embedding_type": (BERT, in_json("config.json", position_embedding_type="relative_key"), True),
    "is_decoder": (BERT, in_json("config.json", is_decoder=True), True),
    "hidden_act": (BERT, in_json("config.json", hidden_act="silu"), True),
    "hidden_act ": (BERT, in_json("config.json", hidden_act={"name": "gelu"}), False),
    "auto_map": (BERT, in_json("config.json", auto_map={"AutoModel": "modeling.Model"}), True),
    "quantization_config": (BERT, in_json("config.json", quantization_config={"quant_method": "bogus"}), True),
    "weightedmean": (Tiny("bert", pooling="weightedmean"), None, True),
    "lasttoken": (Tiny("roberta", pooling=("mean", "lasttoken")), None, True),
    "include_prompt": (
        Tiny("bert", prompts={"query": "query: ", "document": "passage: "}),
        in_json("1_Pooling", "config.json", include_prompt=False),
        True,
    ),
    "model_type": (DENSE, in_json("config_sentence_transformers.json", model_type="SparseEncoder"), True),
    "modality_config": (
        BERT,
        in_json(
            "sentence_bert_config.json",
            modality_config={"text": {"method": "forward", "method_output_name": "pooler_output"}},
        ),
        None,
    ),
    "pooling_mode_unheard_of": (BERT, flags(pooling_mode_mean_tokens=True, pooling_mode_unheard_of=True), False),
    "pooling_mode_unheard_of ": (BERT, flags(pooling_mode_unheard_of=1), False),
    "LSTM": (BERT, layers_between("LSTM"), None),
    "CNN": (BERT, layers_between("CNN"), True),
    "my_package.Module": (BERT, module_list(lambda listed: listed[1].update(type="my_package.Module")), False),
    "Normalize, Dense": (DENSE, module_list(normalize_before_dense), True),
    "use_residual": (
        Tiny("bert", dense=(("Tanh", True), ("Tanh", True))),
        in_json("2_Dense", "config.json", use_residual="yes"),
        False,
    ),
    "Sigmoid": (
        DENSE,
        in_json("2_Dense", "config.json", activation_function="torch.nn.modules.activation.Sigmoid"),
        True,
    ),
    "pytorch_model.bin": (DENSE, pickled_dense, True),
    "sets do_lower_case": (BERT, in_json("sentence_bert_config.json", do_lower_case=True), True),
    "truncate_dim": (BERT, in_json("config_sentence_transformers.json", truncate_dim=16), True),
    "adapter_config": (BERT, in_json("adapter_config.json", peft_type="LORA"), False),
    "adapter.weight": (BERT, lambda folder: edit_tensors(folder, add_tensor), True),
    "layer.1.output.dense.bias": (BERT, lambda folder: edit_tensors(folder, drop_tensor), True),
    "layer.1.output.dense.bias' has shape": (BERT, lambda folder: edit_tensors(folder, cut_tensor), False),
    "num_attention_heads": (BERT, lambda f: edit_json(f, "config.json", remove=("num_attention_heads",)), False),
    "sets do_lower_case to False": (BERT, in_json(TOKENIZER, do_lower_case=False), True),
    "do_lower_case ": (BERT, in_json("tokenizer.json", normalizer=None), True),
    "strip_accents": (BERT, in_json(TOKENIZER, strip_accents=False), True),
    "tokenize_chinese_chars": (Tiny("mpnet"), in_json(TOKENIZER, tokenize_chinese_chars=False), True),
    "truncation_side": (BERT, in_json(TOKENIZER, truncation_side="left"), True),
    "split_special_tokens": (BERT, in_json(TOKENIZER, split_special_tokens=True), True),
    "add_prefix_space": (Tiny("roberta"), in_json(TOKENIZER, add_prefix_space=True), True),
    "cls_token": (BERT, in_json(TOKENIZER, cls_token="[MASK]"), True),
}


class TestRefusedByName:
    """What the engine does not compute, and which engine does."""

    @pytest.mark.parametrize("name", REFUSED)
    def test_a_setting_or_a_tensor(self, name, tiny_folder, changed):
        tiny, change, others_can = REFUSED[name]
        folder = changed(tiny_folder(tiny), change or (lambda folder: None))
        with pytest.raises(ModelUnsupportedError) as refusal:
            numpy_provider(folder)
        assert name.strip() in str(refusal.value)
        self.check_the_other_engine(folder, others_can)

    @pytest.mark.parametrize("family", OTHERS)
    def test_an_architecture(self, family, tiny_folder):
        folder = tiny_folder(Tiny(family))
        with pytest.raises(ModelUnsupportedError, match=f"'{family}'"):
            numpy_provider(folder)
        self.check_the_other_engine(folder, True)

    @staticmethod
    def check_the_other_engine(folder, can):
        """``engine="auto"`` is served by sentence-transformers with its vectors, or refused there as well (False).

        None: it opens, and its own modules then fail on what the transformer gives them.
        """
        loader = OptimizedEmbeddingLoader(folder, "lazy", "cpu")
        if can is False:
            with pytest.raises(LoaderError):
                loader.load(timeout=None)
            return
        provider = loader.load(timeout=None)
        assert provider.engine == "sentence_transformers"
        if can is None:
            return
        plain = plain_model(folder)
        texts = TEXTS[:40]
        assert np.max(np.abs(provider.embed_batch(texts) - unit(plain.encode_document(texts)))) <= TOLERANCE
