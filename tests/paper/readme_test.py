import re
import unittest

from support import ROOT
from lib import readme

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


class Readme(unittest.TestCase):
    def parts(self, text):
        return dict(re.findall(r"<!-- generated: (\w+) -->\n(.*?)<!-- end -->", text, re.S))

    def test_its_numbers_and_presets_are_up_to_date(self):
        shown, made = self.parts(TEXT), self.parts(readme.filled(TEXT))
        for name in ("line", "claims", "presets"):
            self.assertEqual(shown[name], made[name], "run `python3 paper/lib/readme.py`")

    def test_it_lists_every_policy_and_no_other(self):
        made = self.parts(readme.filled(TEXT))["policies"].splitlines()
        known = {line.split("|")[1]: set(re.findall(r"`([^`]+)`", line)) for line in made}
        for line in self.parts(TEXT)["policies"].splitlines():
            self.assertEqual(set(re.findall(r"`([^`]+)`", line)), known[line.split("|")[1]],
                             "run `python3 paper/lib/readme.py`")

    def test_a_type_is_its_policys_name(self):
        spelt = {"h2o": "H2O", "distserve": "DistServe"}  # as the README says
        for line in self.parts(TEXT)["policies"].splitlines()[2:]:
            _, slot, policies, _ = (part.strip() for part in line.split("|"))
            slot = slot.strip("`")
            if slot == "block_size":
                continue
            headers = "".join(path.read_text(encoding="utf-8")
                              for path in (ROOT / "include" / "quire" / slot).glob("*.hpp"))
            for name in re.findall(r"`([^`]+)`", policies):
                kind = spelt.get(name) or "".join(word.capitalize() for word in name.split("_"))
                found = "<" in name or re.search(rf"(struct|class|using) {kind}\b", headers)
                self.assertTrue(found, f"{slot}: {name} is not {kind}")

    def test_every_part_is_there_once(self):
        self.assertEqual(sorted(re.findall(r"<!-- generated: (\w+) -->", TEXT)), sorted(readme.PARTS))

    def test_the_laboratorys_tables_are_those_of_the_rows(self):
        text = (ROOT / "experiments" / "quality" / "README.md").read_text(encoding="utf-8")
        self.assertEqual(self.parts(text), self.parts(readme.filled(text, readme.QUALITY_PARTS)),
                         "run `python3 paper/lib/readme.py`")
        self.assertEqual(sorted(self.parts(text)), sorted(readme.QUALITY_PARTS))

    def test_paths_it_links_to_exist(self):
        for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
            self.assertTrue((ROOT / target).exists(), target)

    def test_the_readme_shows_every_preset_header(self):
        for header in (ROOT / "include" / "quire" / "presets").glob("*.hpp"):
            if header.stem != "presets":
                self.assertIn(f"presets/{header.name}", TEXT)


if __name__ == "__main__":
    unittest.main()
