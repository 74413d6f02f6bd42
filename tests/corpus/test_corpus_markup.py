import pytest

from odqa.corpus import read_documents
from odqa.errors import CorpusError
from odqa.types import Section, section_at


@pytest.fixture
def read(tmp_path):
    def read(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        (document,) = read_documents(path)
        return document

    return read


GUIDE = """\
Before *all*.

# The `odqa` guide

Some **bold** text with a [link](http://example.org "t")
over two lines.\\
New line. ![alt text](a.png)

## Install

### Linux

- one
- two
  - deep
- three

1. first

   loose
2. second

```python
x = [1]

y = 2
```

## Use

| a | b |
|---|:-:|
| 1 | `x` |
|   | 2<br>3 |

> A quote &amp; more.

<div>Some <b>HTML</b><script>no</script></div>
"""


def test_markdown_without_markup(read):
    document = read("guide.md", GUIDE)
    assert document.text == (
        "Before all.\n\nThe odqa guide\n\n"
        "Some bold text with a link over two lines.\nNew line. alt text\n\n"
        "Install\n\nLinux\n\none\ntwo\ndeep\nthree\n\nfirst\n\nloose\n\nsecond\n\n"
        "x = [1]\n\ny = 2\n\nUse\n\na | b\n1 | x\n2\n3\n\nA quote & more.\n\nSome HTML"
    )
    assert (document.id, document.title, document.metadata) == ("guide.md", "The odqa guide", {"path": "guide.md"})


def test_markdown_headings_are_sections(read):
    document = read("guide.md", GUIDE)
    guide = "The odqa guide"
    headings = [guide, f"{guide} > Install", f"{guide} > Install > Linux", f"{guide} > Use"]
    starts = [document.text.index(f"\n{name}\n") + 1 for name in (guide, "Install", "Linux", "Use")]
    assert document.sections == tuple(
        Section(start, heading=heading) for start, heading in zip(starts, headings, strict=True)
    )
    assert section_at(document.sections, document.text.index("deep")).heading == headings[2]
    assert section_at(document.sections, 0).heading is None


def test_a_heading_ends_those_of_its_level_and_below(read):
    document = read("a.md", "## A\n\n#### B\n\n### C\n\n# D\n\n## E")
    assert [section.heading for section in document.sections] == ["A", "A > B", "A > C", "D", "D > E"]
    assert document.title == "D"


@pytest.mark.parametrize(
    ("text", "title", "rest"),
    [
        ('---\ntitle: "My: page"\ntags: [a]\n---\n# Head\n', "My: page", "Head"),
        ("---\r\ntitle: Plain\r\n---\r\nText\r\n", "Plain", "Text"),
        ("---\ntags: x\n---\nText", "a", "Text"),
        ("Text\n\n---\n\nmore", "a", "Text\n\nmore"),
        ("", "a", ""),
    ],
)
def test_markdown_front_matter(read, text, title, rest):
    document = read("a.md", text)
    assert (document.title, document.text) == (title, rest)


PAGE = """<!doctype html><html><head><title> The
  page </title><style>p {}</style></head>
<body><nav>Menu</nav><h1>Head <i>line</i></h1>
<p>Caf&eacute; <b>one</b>two
 three&nbsp;four.<br>five</p><!-- no -->
<div>a<div>b</div>c</div>
<script>alert(1)</script><noscript>off</noscript><template>t</template>
<ul><li>x</li><li><p>y</p></li></ul>
<h2>Table</h2>
<table><thead><tr><th>k</th><th>v</th></tr></thead>
<tr><td><p>1</p></td><td><h3>Deep</h3></td></tr><tr><td></td><td>3</td></tr></table>
<pre>  def f():
    pass</pre>end</body></html>"""


def test_html_as_a_browser_shows_it(read):
    document = read("page.html", PAGE)
    assert document.text == (
        "Head line\n\nCafé onetwo three\xa0four.\nfive\n\na\nb\nc\n\nx\n\ny\n\nTable\n\n"
        "k | v\n1 | Deep\n3\n\n  def f():\n    pass\n\nend"
    )
    assert document.title == "The page"
    found = [(document.text[section.start :].split("\n")[0], section.heading) for section in document.sections]
    assert found == [
        ("Head line", "Head line"),
        ("Table", "Head line > Table"),
        ("Deep", "Head line > Table > Deep"),
    ]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("<h2>b</h2><h1>\n a <b>c</b></h1>", "a c"),
        ("<title> </title><p>x", "page"),
        ("", "page"),
        ("<h1></h1>", "page"),
    ],
)
def test_html_title_without_a_title_element(read, text, title):
    assert read("page.htm", text).title == title


def test_deep_html_costs_no_stack(read):
    assert read("a.html", "<div>" * 5000 + "deep" + "</div>" * 5000).text == "deep"


@pytest.mark.parametrize("name", ["a.html", "a.md", "a.txt"])
def test_not_utf8(tmp_path, name):
    (tmp_path / name).write_bytes(b"ok\ncaf\xe9")
    with pytest.raises(CorpusError, match=rf"{name} is not UTF-8: byte 0xE9 at offset 6\. Convert it first.*iconv"):
        list(read_documents(tmp_path / name))
