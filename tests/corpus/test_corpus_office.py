import zipfile

import docx
import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from odqa.corpus import read_documents
from odqa.errors import CorpusError
from odqa.types import Document, Section, section_at


def pdf_file(path, *pages, title="", encrypt=None):
    canvas = Canvas(str(path), encrypt=encrypt)
    canvas.setTitle(title)
    for page in pages:
        for number, line in enumerate(page):
            canvas.drawString(72, 720 - 20 * number, line)
        canvas.showPage()
    canvas.save()
    return path


def test_pdf_pages_are_sections(tmp_path):
    path = pdf_file(tmp_path / "a.pdf", ["First page.", "Its café."], [], ["Third page."], title="A  report")
    (document,) = read_documents(path)
    assert document == Document(
        "a.pdf",
        "First page.\nIts café.\n\nThird page.",
        "A report",
        {"path": "a.pdf"},
        (Section(0, page=1), Section(23, page=3)),
    )
    assert section_at(document.sections, document.text.index("Third")).page == 3


def test_pdf_hyphens_at_line_ends(tmp_path):
    path = pdf_file(tmp_path / "a.pdf", ["This is an exam-", "ple of Anglo-", "Norman text."])
    assert next(read_documents(path)).text == "This is an example of Anglo-Norman text."


def test_pdf_without_text_or_title(tmp_path):
    (document,) = read_documents(pdf_file(tmp_path / "scan.v2.pdf", [], []))
    assert (document.text, document.title, document.sections) == ("", "scan.v2", ())


def test_encrypted_pdf(tmp_path):
    path = pdf_file(tmp_path / "a.pdf", ["x"], encrypt=StandardEncryption("secret"))
    with pytest.raises(CorpusError, match=r"a\.pdf is encrypted\. Save a copy without a password"):
        list(read_documents(path))


def test_bad_pdf(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"no pdf")
    with pytest.raises(CorpusError, match=r"a\.pdf is not a readable PDF: .*Data format error"):
        list(read_documents(path))


@pytest.fixture
def word_file(tmp_path):
    word = docx.Document()
    word.add_paragraph("Preface.")
    word.add_heading("Guide", 1)
    word.add_heading("Install", 2)
    word.add_paragraph("Do this\tand that.")
    word.add_paragraph("one", style="List Bullet")
    word.add_paragraph("two", style="List Bullet")
    table = word.add_table(2, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    table.cell(1, 0).merge(table.cell(1, 1)).text = "merged"
    word.add_paragraph("")
    word.add_paragraph("End.")
    word.save(tmp_path / "a.docx")
    return tmp_path / "a.docx"


def test_docx(word_file):
    (document,) = read_documents(word_file)
    text = "Preface.\n\nGuide\n\nInstall\n\nDo this\tand that.\n\none\ntwo\n\na | b\nmerged\n\nEnd."
    sections = (Section(10, heading="Guide"), Section(17, heading="Guide > Install"))
    assert document == Document("a.docx", text, "Guide", {"path": "a.docx"}, sections)


def test_docx_of_style_title(tmp_path):
    word = docx.Document()
    word.add_heading("The  title", 0)
    word.add_heading("Part", 1)
    word.save(tmp_path / "a.docx")
    (document,) = read_documents(tmp_path / "a.docx")
    assert (document.title, document.sections) == ("The title", (Section(12, heading="Part"),))


def test_bad_docx(tmp_path):
    path = tmp_path / "a.docx"
    path.write_bytes(b"no docx")
    with pytest.raises(CorpusError, match=r"a\.docx is not a readable DOCX file"):
        list(read_documents(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(CorpusError, match=r"a\.docx is not a readable DOCX file"):
        list(read_documents(path))


def test_text_stays_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    text = " Café \u2028 e\u0301\r\n\rx\n\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert list(read_documents(path)) == [Document("notes.txt", text, "notes", {"path": "notes.txt"})]
