"""Numbers that experiments' READMEs tell in prose, against the rows that they are of."""
import unittest

from support import ROOT
from lib import rows as row_file


def rows(experiment, **wanted):
    found = row_file.read(ROOT / "paper" / "results" / f"{experiment}.jsonl")
    return [r for r in found if all(r.get(k) == v for k, v in wanted.items())]


class Prose(unittest.TestCase):
    def says(self, experiment, sentence):
        text = (ROOT / "experiments" / experiment / "README.md").read_text(encoding="utf-8")
        self.assertTrue(sentence in " ".join(text.split()), f"{experiment}: the rows say: {sentence}")

    def test_speculation(self):
        longer = [1 / r["speed_up"] for r in rows("speculation", part="measured", workload="story")]
        self.assertEqual(len(longer), 6)
        self.says("speculation", f"they cost more than they bring: requests take {min(longer):.1f} to "
                                 f"{max(longer):.1f} times as long as without")

    def test_kernel_roofline(self):
        paged = rows("kernel_roofline", part="paged")
        usual = [r["cost_percent"] for r in paged if r["block_size"] == 16]
        long = {r["batch"]: r["cost_percent"] for r in paged
                if (r["block_size"], r["context"]) == (256, 64)}
        self.says("kernel_roofline", f"{min(usual):.0f} to {max(usual):.0f} % in the committed rows")
        self.says("kernel_roofline", f"at 64 tokens in blocks of 256, {long[1]:.0f} % with one and "
                                     f"{long[32]:.0f} % with 32")

    def test_cpu_step(self):
        products = [r["products_us"] / 1000 for r in rows("cpu_step", part="depth")]
        self.says("cpu_step", f"products of the same weights take {min(products):.1f} to "
                              f"{max(products):.1f} ms from row to row of `depth`")

    def test_fusion(self):
        saved = [r["saved_percent"] for r in rows("fusion", apart="sampled_logits")]
        self.says("fusion", f"`sampled_logits` saves {min(saved):.0f} to {max(saved):.0f} %")

    def test_retention(self):
        random = {(r["policy"], r["budget"]): r["nats_per_token"]
                  for r in rows("retention", part="random")}
        worth = {b: random["sliding_window", b] - random["streaming_llm", b] for b in (16, 32, 64)}
        self.says("retention", f"sinks are worth {worth[32]:.2f} nat with 32 tokens, {worth[64]:.2f} "
                               f"with 64 and less than nothing with 16 ({worth[16]:.2f})")

    def test_offload(self):
        waits = {}
        for r in rows("offload", part="sessions"):
            policy = "nothing" if r["variant"] == "vllm" else r["variant"].rpartition("=")[2]
            waits[policy, r["think_s"]] = r["mean_ttft_returning_s"]
        for later in (300, 900):
            for policy in ("tiered", "attention_store"):
                self.assertLess(waits[policy, later], waits["nothing", later])
                self.assertGreater(waits[policy, later], waits["recompute", later])
        self.says("offload", f"{waits['tiered', 60]:.2f} s (`tiered`) and "
                             f"{waits['attention_store', 60]:.2f} s (`attention_store`), against "
                             f"{waits['nothing', 60]:.2f} s")


if __name__ == "__main__":
    unittest.main()
