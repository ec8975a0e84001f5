import re
import unittest

from support import ROOT
from lib import readme

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


class Readme(unittest.TestCase):
    def test_its_generated_parts_are_up_to_date(self):
        self.assertEqual(readme.filled(TEXT), TEXT, "run `python3 paper/lib/readme.py`")

    def test_every_part_is_there_once(self):
        self.assertEqual(sorted(re.findall(r"<!-- generated: (\w+) -->", TEXT)), sorted(readme.PARTS))

    def test_paths_it_links_to_exist(self):
        for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
            self.assertTrue((ROOT / target).exists(), target)

    def test_the_readme_shows_every_preset_header(self):
        for header in (ROOT / "include" / "quire" / "presets").glob("*.hpp"):
            if header.stem != "presets":
                self.assertIn(f"presets/{header.name}", TEXT)


if __name__ == "__main__":
    unittest.main()
