# /// script
# requires-python = ">=3.11"
# dependencies = ["transformers==5.23.0", "tokenizers==0.23.3"]
# ///
"""Writes `fixture.json`: prompts and the ids that transformers' CLIPTokenizer gives them.

Three tokenizers: CLIP's whole vocabulary with the padding of Stable Diffusion 1.x and 2.x (its
merges are read from the crate that carries them, found through `cargo metadata`), and a small one
with a vocabulary and added words of its own, whose files are written to `small/`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import transformers
from transformers import AddedToken, CLIPTokenizer

HERE = Path(__file__).resolve().parent

PROMPTS = [
    "",
    " ",
    "a photo of a cat",
    "A Photo of a CAT, highly detailed, 8k",
    "it's what we'd say: they're here, I've seen 'em, he'll go, I'm not; DON'T",
    "a (sks) car on a road",
    "12345 3.14159 1,000,000 \u00bd \u0664\u0662 \u2167",
    "multiple   spaces\tand\nlines\r\nand\u00a0others\u2003here",
    "caf\u00e9 cafe\u0301 na\u00efve \u00c5ngstr\u00f6m A\u030angstro\u0308m",
    "\u03a3\u03a5\u03a3 \u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3",
    "\u0130stanbul DI\u0307YARBAKIR \u1e9e Stra\u00dfe",
    "\u4e00\u53ea\u732b\u5728\u8349\u5730\u4e0a \u3072\u3089\u304c\u306a \ud55c\uad6d\uc5b4",
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f600\U0001f602\U0001f602 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1fa\U0001f1f8 \u2764\ufe0f",
    "Fish &amp; chips &lt;b&gt; &#39;quoted&#39; &nbsp;",
    "control\x00char\x07s and\x1b[31m\x7f\u200bzero\ufeffwidth",
    "\u201csmart quotes\u201d \u2018and\u2019 dashes \u2013 \u2014 \u2026",
    "hello!!! wow! what?! ... ---___---",
    "it\u2019s \u00e2\u20ac\u2122 mojibake",
    "<|startoftext|>inside<|endoftext|> and <|ENDOFTEXT|>, <|StartOfText|>",
    "<start_of_text>not special<end_of_text>",
    "snake_case camelCase kebab-case path/to/file.txt user@example.com #tag",
    "'s 't ''s 'S !'s x's1's",
    "supercalifragilisticexpialidocious donaudampfschifffahrtsgesellschaftskapit\u00e4nsm\u00fctze",
    "\U0001d4d0\U0001d4f7 \uff26\uff55\uff4c\uff4c \ufb01ligature \u2122 \u212b \u2126",
    "word " * 80,
    "a very long prompt, " * 20 + "whose end is lost",
    "x" * 400,
    "!" * 90,
    "\U0001f602" * 200,
    "seventy five words fit " * 15,
    "<cat-toy> and <CAT-TOY>, a<dog>b Newword newwords newword.",
]


def byte_names():
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in visible}
    for byte in range(256):
        names.setdefault(byte, chr(256 + len(names) - len(visible)))
    # The vocabulary numbers the visible bytes first.
    return [names[byte] for byte in visible] + [
        names[byte] for byte in range(256) if byte not in visible
    ]


def clip_merges():
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=HERE).stdout)
    package = next(p for p in metadata["packages"] if p["name"] == "instant-clip-tokenizer")
    file = Path(package["manifest_path"]).parent / "bpe_simple_vocab_16e6.txt"
    return file.read_text(encoding="utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]


def write_folder(folder, merges, pad):
    """A `tokenizer/` folder as transformers 4 wrote it."""
    names = byte_names()
    tokens = names + [name + "</w>" for name in names] + ["".join(m.split(" ")) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}

    def token(content):
        flags = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
        return {"content": content, **flags}

    special = {
        "bos_token": token("<|startoftext|>"),
        "eos_token": token("<|endoftext|>"),
        "unk_token": token("<|endoftext|>"),
    }
    config = {key: {"__type": "AddedToken", **value} for key, value in special.items()}
    config |= {"model_max_length": 77, "pad_token": "<|endoftext|>"}
    config |= {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    folder.mkdir(parents=True, exist_ok=True)

    def write(name, text):
        (folder / name).write_text(text, encoding="utf-8")

    write("vocab.json", json.dumps(vocabulary, ensure_ascii=False))
    write("merges.txt", "#version: 0.2\n" + "\n".join(merges) + "\n")
    write("tokenizer_config.json", json.dumps(config, indent=1))
    write("special_tokens_map.json", json.dumps(special | {"pad_token": pad}, indent=1))
    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer):
    return [
        tokenizer(p, padding="max_length", max_length=tokenizer.model_max_length, truncation=True)
        .input_ids
        for p in PROMPTS
    ]


def main():
    merges = clip_merges()
    cases = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, pad in [("end_of_text", "<|endoftext|>"), ("exclamation_mark", "!")]:
            cases[name] = encode(write_folder(Path(temporary) / name, merges, pad))
    small = HERE / "small"
    shutil.rmtree(small, ignore_errors=True)
    tokenizer = write_folder(small / "v4", merges[:150], "<|endoftext|>")
    tokenizer.add_tokens(
        [
            AddedToken("<cat-toy>", normalized=True),
            AddedToken("<dog>", normalized=False),
            AddedToken("newword", normalized=True, single_word=True),
        ]
    )
    tokenizer.model_max_length = 40
    tokenizer.save_pretrained(small / "v5")
    cases["small/v4"] = encode(CLIPTokenizer.from_pretrained(small / "v4"))
    cases["small/v5"] = encode(CLIPTokenizer.from_pretrained(small / "v5"))
    fixture = {
        "reference": f"transformers {transformers.__version__}",
        "prompts": PROMPTS,
        "ids": cases,
    }
    text = json.dumps(fixture, ensure_ascii=True)
    # One list of ids a line.
    text = text.replace("], [", "],\n[").replace('"ids": {', '\n"ids": {').replace(']], "', ']],\n"')
    (HERE / "fixture.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
