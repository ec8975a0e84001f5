import json
import os
import unittest

from support import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Notebooks(unittest.TestCase):
    def test_outputs_are_stripped(self):
        for path in NOTEBOOKS:
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                if cell["cell_type"] == "code":
                    self.assertEqual((cell["outputs"], cell["execution_count"]), ([], None), path.name)

    def test_every_experiment_has_one(self):
        text = "".join(path.read_text(encoding="utf-8") for path in NOTEBOOKS)
        for path in (ROOT / "experiments").glob("*/axes.hpp"):
            self.assertTrue(f'experiment = \\"{path.parent.name}\\"' in text, path.parent.name)

    def test_each_runs_headless_on_the_committed_rows_and_draws(self):
        import nbformat
        from nbclient import NotebookClient
        os.environ["QUIRE_ROWS"] = "paper/results"
        # One after the other in one kernel, emptied between two: starting it and importing what they
        # all use is most of the time.
        everything = nbformat.v4.new_notebook()
        ends = []
        for path in NOTEBOOKS:
            everything.cells += [nbformat.v4.new_code_cell("%reset -sf"),
                                 *nbformat.read(path, as_version=4).cells]
            ends.append(len(everything.cells))
        NotebookClient(everything, timeout=120, kernel_name="python3", allow_errors=True,
                       resources={"metadata": {"path": str(ROOT / "notebooks")}}).execute()
        for path, begin, end in zip(NOTEBOOKS, [0, *ends], ends):
            outputs = [output for cell in everything.cells[begin:end] if cell.cell_type == "code"
                       for output in cell.outputs]
            with self.subTest(path.name):
                self.assertEqual([output.get("traceback") for output in outputs
                                  if output.output_type == "error"], [])
                kinds = [kind for output in outputs for kind in output.get("data", {})]
                self.assertIn("image/png", kinds)
                self.assertIn("text/html", kinds)  # a table of numbers


if __name__ == "__main__":
    unittest.main()
