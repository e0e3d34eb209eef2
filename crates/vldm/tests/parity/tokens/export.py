"""What CLIP's tokenizer makes of varied prompts, as in SD 1.x (padded with 49407) and as in SD 2.x (padded with "!", which is 0)."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common import *  # noqa: E402,F403

PROMPTS = [
    "",
    " ",
    "a photo of a cat",
    "A Photo Of A CAT",
    "a photo of a (sks) car on a road",
    "  leading, trailing and   inner    spaces  ",
    "tabs\tand\nnew\r\nlines",
    "non\u00a0breaking\u2003em\u3000ideographic spaces",
    "hello, world! it's 3:45 p.m.",
    "don't they're we've I'm you'll he'd cat's",
    "DON'T THEY'RE WE'VE I'M YOU'LL HE'D",
    "don\u2019t use curly \u201cquotes\u201d",
    "'s 't 're 've 'm 'll 'd",
    "rock'n'roll o'clock 'tis",
    "1234567890",
    "the year 2024, 3.14159 and 1,000,000",
    "x2 4k 8K 1080p f/1.8 50mm",
    "12th-century 90's mp3",
    "\u0661\u0662\u0663 \u00bd \u2167 \u2461",
    "!",
    "!!!",
    "wow! really?! no...",
    "a ! b !c! !d",
    "... --- ,,, ;;; ::: ???",
    "$100 & 50% off @home #1 ~/dir/file_name.txt",
    "<tag attr=\"v\">text</tag>",
    "((masterpiece)), [[low quality]], {curly}, (word:1.3)",
    "a+b=c*d^e|f\\g",
    "under_score and hyphen-ated words",
    "e-mail: someone@example.com, https://example.com/a?b=c&d=e",
    "caf\u00e9 na\u00efve r\u00e9sum\u00e9 \u00fcber stra\u00dfe",
    "CAFE\u0301 composed from parts: e\u0301 n\u0303 u\u0308",
    "\u00c9COLE \u00d6STERREICH \u00d1AND\u00da \u00c5NGSTR\u00d6M",
    "\u0130stanbul I\u015f\u0131k \u0131",
    "\u041a\u0440\u0430\u0441\u043d\u0430\u044f \u043c\u0430\u0448\u0438\u043d\u0430 \u043d\u0430 \u0434\u043e\u0440\u043e\u0433\u0435",
    "\u039a\u03cc\u03ba\u03ba\u03b9\u03bd\u03bf \u03b1\u03c5\u03c4\u03bf\u03ba\u03af\u03bd\u03b7\u03c4\u03bf \u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03a3",
    "\u96e8\u306e\u9053\u8def\u3092\u8d70\u308b\u8d64\u3044\u8eca",
    "\u4e00\u8f86\u7ea2\u8272\u7684\u6c7d\u8f66\u5728\u96e8\u4e2d",
    "\ube68\uac04 \uc790\ub3d9\ucc28",
    "\u0633\u064a\u0627\u0631\u0629 \u062d\u0645\u0631\u0627\u0621",
    "\u05de\u05db\u05d5\u05e0\u05d9\u05ea \u05d0\u05d3\u05d5\u05de\u05d4",
    "\u0932\u093e\u0932 \u0917\u093e\u0921\u093c\u0940",
    "\u0e23\u0e16\u0e22\u0e19\u0e15\u0e4c\u0e2a\u0e35\u0e41\u0e14\u0e07",
    "\U0001f600 \U0001f697\U0001f327\ufe0f rainy drive",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family \U0001f1e9\U0001f1ea flag \U0001f44d\U0001f3fd",
    "math \u2211\u222b\u221a\u2248\u2260 arrows \u2190\u2192 currency \u20ac\u00a3\u00a5",
    "\u2122 \u00ae \u00a9 \u00b0C \u00b5m",
    "ligature \ufb01\ufb02 fullwidth \uff21\uff22\uff23\uff11",
    "\ufeffbyte order mark",
    "zero\u200bwidth\u200cjoiners\u200d",
    "soft\u00adhyphen",
    "control \x01\x7f characters",
    "html &amp; entities &lt;b&gt; &#39;",
    "<|startoftext|>a dog<|endoftext|> after the end",
    "<|STARTOFTEXT|> <|endoftext|>",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "qwrtzpsdfghjklyxcvbnm zzzzzzzzzzzzzzzzzzzz",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "word " * 74 + "end",
    "word " * 75 + "cut",
    "word " * 76,
    "a very long prompt that goes on and on, " * 12,
    "1" * 100,
    "!" * 90,
    "time-lapse of the milky way over a desert, ultra wide, trending on artstation, 8k, hdr",
    "Stormtrooper vacuuming on the beach",
    "An astronaut riding a horse, high definition, 4k, in the style of Van Gogh",
    "two cars, one red and one blue, drive down a wet street at night; headlights reflect",
]


def main():
    tables = {}
    for name, pad in (("sd1", "<|endoftext|>"), ("sd2", "!")):
        words = tokenizer(pad)
        tables[name] = [row.tolist() for row in tokens(words, PROMPTS)]

    def trimmed(row, pad):
        """Without the padding: every row is 77 long, what is missing is `pad`."""
        end = len(row)
        while end > 0 and row[end - 1] == pad:
            end -= 1
        return row[: max(end, 1)]

    rows = [
        {"prompt": prompt, "sd1": trimmed(one, 49407) + [49407] * (49407 in one), "sd2": trimmed(two, 0)}
        for prompt, one, two in zip(PROMPTS, tables["sd1"], tables["sd2"])
    ]
    for row, one, two in zip(rows, tables["sd1"], tables["sd2"]):
        row["sd1"] = row["sd1"][:77]
        assert row["sd1"] + [49407] * (77 - len(row["sd1"])) == one
        assert row["sd2"] + [0] * (77 - len(row["sd2"])) == two
    versions = {name: importlib.metadata.version(name) for name in ("transformers", "tokenizers")}
    head = {"format_version": 1, "reference": versions, "length": 77, "padding": {"sd1": 49407, "sd2": 0}}
    lines = ",\n".join("    " + json.dumps(row, ensure_ascii=True) for row in rows)
    text = json.dumps(head, indent=2)[:-2] + ',\n  "prompts": [\n' + lines + "\n  ]\n}\n"
    json.loads(text)
    (HERE / "tokens.json").write_text(text)
    print(len(rows), "prompts;", sum(row["sd1"] != row["sd2"] for row in rows), "differ by more than padding")


if __name__ == "__main__":
    main()
