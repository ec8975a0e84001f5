#!/usr/bin/env python3
"""Deterministic stories with questions about earlier sentences.

A story introduces people, gives them things, moves both about, and ends with questions whose
answers were stated at known places in the text. Text is unlimited and the same for the same seed on
every machine (only random.Random.random is used, whose sequence Python guarantees).

    python3 stories.py --seed 7 --sentences 20     # prints a story and its questions' distances

Every fact that a question asks about is stated once, or restated by the sentence that changes it;
the answer follows from the latest statement. `Story.questions` records where that statement ends.
"""

import argparse
import dataclasses
import json
import random

SHE = ("Anna Clara Edith Flora Grace Hazel Iris Julia Laura Maria Nora Olive Paula Rosa Sara Tessa "
       "Vera Wanda Yvonne Zoe").split()
HE = ("Adam Boris Carl David Emil Felix George Henry Isaac Jacob Konrad Leo Martin Noah Oscar "
      "Peter Robert Simon Thomas Victor").split()
PLACES = ("in the kitchen|in the barn|in the garden|in the cellar|in the attic|in the library|"
          "in the forest|in the valley|in the castle|in the tower|in the chapel|in the stable|"
          "at the market|at the mill|at the harbour|at the school|at the station|at the bakery|"
          "at the lighthouse|at the theatre|by the river|by the well|by the bridge|by the lake|"
          "by the fountain|on the hill|on the island|on the meadow|on the beach|on the square"
          ).split("|")
BOXES = ("in the chest|in the basket|in the drawer|in the cupboard|in the barrel|in the wagon|"
         "in the boat|in the suitcase|under the bed|under the table|under the stairs|"
         "under the bench|behind the door|behind the curtain|behind the stove|behind the mirror|"
         "on the shelf|on the roof|on the chair|on the piano").split("|")
THINGS = ("kite drum lamp cup ring coat hat map key clock flute book bell rope knife mask sword "
          "pen shoe glove scarf spoon bottle candle hammer ladder mirror puppet marble compass "
          "whistle lantern blanket violin trumpet feather bucket saddle teapot helmet").split()
COLOURS = "red blue green yellow white black brown purple orange silver golden grey".split()
FOODS = ("apples pears plums cherries bread cheese honey soup pancakes noodles walnuts carrots "
         "mushrooms pudding grapes melons beans cake fish rice").split()
JOBS = ("baker miller farmer teacher sailor painter doctor tailor soldier singer hunter gardener "
        "blacksmith carpenter fisher shepherd writer weaver judge potter").split()
BEASTS = ("hens ducks goats sheep horses rabbits pigeons owls frogs bees swans foxes mice geese "
          "cows cats").split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve twenty".split()
WORDS = ("thunder crystal shadow pepper anchor velvet meteor copper winter ribbon dragon basil "
         "harvest marble lemon falcon comet amber desert cotton puzzle saffron willow ginger "
         "domino nectar pilot tundra zebra igloo").split()

OPENINGS = (
    "One {w} morning, {A} left the house early.", "Once upon a time there lived a {t} called {A}.",
    "It was a {w} day in the village.", "Long ago, in a small town, there lived two friends.",
    "On a {w} evening the whole village came together.", "Everyone in the town knew {A}.",
    "This is the story of {A} and {B}.", "The year had been {w} and quiet.")
WEATHER = "cold warm rainy sunny windy cloudy bright misty snowy stormy".split()
FILLERS = (
    "The wind blew over the roofs.", "It began to rain.", "Soon the sun came out again.",
    "A dog barked in the distance.", "Nobody said a word for a while.", "The day was long and {w}.",
    "Some children played in the street.", "The church bell rang four times.",
    "An old cart rolled down the road.", "There was a smell of smoke in the air.",
    "{A} was very tired.", "{A} laughed out loud.", "{A} sang an old song.",
    "{A} thought about it for a long time.", "{A} looked at {B} and smiled.",
    "{A} and {B} talked until it was dark.", "{A} told {B} a long and funny story.",
    "{A} waited, but nothing happened.", "{B} did not believe it.", "{B} was a little afraid.",
    "{B} asked {A} to stay for supper.", "{A} shook {B} by the hand.",
    "That night {A} slept badly.", "The next morning it was {w}.",
    "In the afternoon the sky turned {c}.", "Later the neighbours came to help.",
    "A stranger in a {c} cloak passed by.",
    "The road was muddy and full of stones.", "{A} wanted to go home, but {B} did not.",
    "\"What a {w} day,\" said {A}.", "\"I am hungry,\" said {B}.", "\"Do not worry,\" said {A}.",
    "\"We should hurry,\" {B} said.", "\"I have never seen such a thing,\" said {A}.")
ENDINGS = (
    "In the end everyone went home and slept well.", "And so the day came to an end.",
    "They remained friends for many years.", "After that, life in the village was quiet again.",
    "That was the end of a long day.", "And that is how it happened.")


@dataclasses.dataclass
class Question:
    """A question, where its answer lies in the text, and where the fact was last stated."""

    kind: str
    question: str
    answer: str
    stated_end: int    # offset just after the sentence that states the fact
    answer_start: int = -1
    answer_end: int = -1


class Story:
    """One story; `text` is all of it, `questions` those asked at its end, in order."""

    def __init__(self, seed, sentences, questions):
        self.rng = random.Random(seed)
        self.text = ""
        self.facts = {}   # key -> Question, the latest statement
        self.questions = []
        self.in_paragraph = 0
        self.used = set()
        self.people = []
        self.holder = {}  # thing -> person
        self.hidden = {}  # thing -> place
        self.place = {}   # person -> place
        self._write(sentences)
        self._ask(questions)

    # -- chance ---------------------------------------------------------------------------------
    def below(self, n):
        return int(self.rng.random() * n)

    def pick(self, items):
        return items[self.below(len(items))]

    def fresh(self, items):
        """Picks an item that this story has not used yet, or None."""
        left = [i for i in items if i not in self.used]
        if not left:
            return None
        item = self.pick(left)
        self.used.add(item)
        return item

    # -- telling --------------------------------------------------------------------------------
    def say(self, sentence, *facts):
        if self.in_paragraph >= 4 + self.below(4):
            self.text += "\n"
            self.in_paragraph = 0
        elif self.text and not self.text.endswith("\n"):
            self.text += " "
        self.text += sentence
        self.in_paragraph += 1
        for key, kind, question, answer in facts:
            self.facts[key] = Question(kind, question, answer, len(self.text))

    def where(self, person, place):
        self.place[person] = place
        return ("where", person), "person_place", f"Where is {person}?", f"{person} is {place}."

    def has(self, thing, person):
        self.holder[thing] = person
        self.hidden.pop(thing, None)
        self.facts.pop(("lies", thing), None)
        return ("has", thing), "holder", f"Who has the {thing}?", f"{person} has the {thing}."

    def lies(self, thing, place):
        self.holder.pop(thing, None)
        self.hidden[thing] = place
        self.facts.pop(("has", thing), None)
        return ("lies", thing), "thing_place", f"Where is the {thing}?", f"The {thing} is {place}."

    def pronoun(self, person):
        return "she" if person in SHE else "he"

    def fill(self, template):
        a = self.pick(self.people)
        b = self.pick([p for p in self.people if p != a])
        w, c = self.pick(WEATHER), self.pick(COLOURS)
        return template.format(A=a, B=b, w=w, c=c, t=self.pick(JOBS))

    # -- scenes: each says one sentence, or nothing where the world does not allow it ------------
    def scene_person(self):
        p = self.fresh(SHE + HE)
        if p is None or len(self.people) > 7:
            return
        self.people.append(p)
        job = self.fresh(JOBS)
        if job is None:
            return
        article = "an" if job[0] in "aeiou" else "a"
        self.say(self.pick((f"{p} was {article} {job}.", f"There was {article} {job} called {p}.",
                            f"{p} worked as {article} {job}.")),
                 (("job", p), "job", f"What is the work of {p}?", f"{p} is {article} {job}."))

    def scene_thing(self):
        thing = self.fresh(THINGS)
        if thing is None:
            return
        p, colour = self.pick(self.people), self.pick(COLOURS)
        article = "an" if colour[0] in "aeiou" else "a"
        self.say(self.pick((f"{p} had {article} {colour} {thing}.",
                            f"{p} bought {article} {colour} {thing}.",
                            f"{p} carried {article} {colour} {thing}.",
                            f"In the grass {p} found {article} {colour} {thing}.")),
                 self.has(thing, p),
                 (("colour", thing), "colour", f"What colour is the {thing}?",
                  f"The {thing} is {colour}."))

    def scene_move(self):
        p, place = self.pick(self.people), self.pick(PLACES)
        if self.place.get(p) == place:
            return
        goal = place.split(" ", 1)[1]
        s = self.pronoun(p)
        self.say(self.pick((f"{p} went to {goal}.", f"Then {p} walked to {goal}.",
                            f"After a while {p} was {place}.",
                            f"{p} hurried to {goal}, because {s} was late.",
                            f"\"I am going to {goal},\" said {p}, and {s} went.")),
                 self.where(p, place))

    def scene_give(self):
        held = sorted(self.holder)
        if not held:
            return
        thing = self.pick(held)
        a = self.holder[thing]
        b = self.pick([p for p in self.people if p != a])
        self.say(self.pick((f"{a} gave the {thing} to {b}.", f"{b} took the {thing} from {a}.",
                            f"\"Please take the {thing},\" said {a}, and {b} took it.")),
                 self.has(thing, b))

    def scene_hide(self):
        held = sorted(self.holder)
        if not held:
            return
        thing, box = self.pick(held), self.pick(BOXES)
        p = self.holder[thing]
        self.say(self.pick((f"{p} put the {thing} {box}.", f"{p} hid the {thing} {box}.",
                            f"{p} left the {thing} {box}.")), self.lies(thing, box))

    def scene_find(self):
        lying = sorted(self.hidden)
        if not lying:
            return
        thing, p = self.pick(lying), self.pick(self.people)
        box = self.hidden[thing]
        self.say(self.pick((f"{p} found the {thing} {box} and took it.",
                            f"{p} looked {box} and took the {thing}.")), self.has(thing, p))

    def scene_like(self):
        free = [p for p in self.people if ("like", p) not in self.facts]
        if not free:
            return
        p, food = self.pick(free), self.pick(FOODS)
        self.say(self.pick((f"{p} loved {food}.", f"Every day {p} ate {food}.",
                            f"\"I like {food} best,\" said {p}.")),
                 (("like", p), "food", f"What does {p} like to eat?", f"{p} likes {food}."))

    def scene_count(self):
        beasts = self.fresh(BEASTS)
        if beasts is None:
            return
        n, place = self.pick(NUMBERS), self.pick(PLACES)
        self.say(self.pick((f"There were {n} {beasts} {place}.", f"They saw {n} {beasts} {place}.",
                            f"Somebody had counted {n} {beasts} {place}.")),
                 (("count", beasts), "number", f"How many {beasts} were there?",
                  f"There were {n} {beasts}."))

    def scene_word(self):
        if ("word",) in self.facts:
            return
        w = self.pick(WORDS)
        self.say(self.pick((f"The secret word was {w}.", f"Remember this: the secret word was {w}.",
                            f"\"The secret word is {w},\" said {self.pick(self.people)}.")),
                 (("word",), "word", "What is the secret word?", f"The secret word is {w}."))

    def scene_recall(self):
        """Somebody asks about a fact and is answered right; this does not count as stating it."""
        if not self.facts:
            return
        fact = self.facts[self.pick(sorted(self.facts))]
        a = self.pick(self.people)
        b = self.pick([p for p in self.people if p != a])
        self.say(f"\"{fact.question}\" asked {a}. \"{fact.answer[:-1]},\" said {b}.")

    def scene_filler(self):
        self.say(self.fill(self.pick(FILLERS)))

    def _write(self, sentences):
        dense = self.rng.random() < 0.35  # facts one after the other, little else
        recall = 0.06 if self.rng.random() < 0.5 else 0.0
        self.people = [self.fresh(SHE + HE), self.fresh(SHE + HE)]
        if not dense:
            self.say(self.fill(self.pick(OPENINGS)))
        scenes = ((self.scene_person, 1.0), (self.scene_thing, 2.0), (self.scene_move, 2.0),
                  (self.scene_give, 1.2), (self.scene_hide, 1.2), (self.scene_find, 0.6),
                  (self.scene_like, 1.0), (self.scene_count, 0.7), (self.scene_word, 0.5),
                  (self.scene_recall, recall * 10), (self.scene_filler, 1.0 if dense else 6.0))
        total = sum(weight for _, weight in scenes)
        said = 0
        while said < sentences:
            at = self.rng.random() * total
            for scene, weight in scenes:
                at -= weight
                if at < 0:
                    break
            before = len(self.text)
            scene()
            said += len(self.text) > before
        if not dense:
            self.say(self.pick(ENDINGS))
        self.text += "\n\n"

    def _ask(self, count):
        keys = sorted(self.facts)
        for _ in range(min(count, len(keys))):
            q = self.facts[keys.pop(self.below(len(keys)))]
            self.text += f"Question: {q.question}\nAnswer:"
            start = len(self.text)
            self.text += f" {q.answer}\n"
            self.questions.append(dataclasses.replace(
                q, answer_start=start, answer_end=len(self.text)))


def story(seed, longest=60):
    """The story of this seed: 3 to `longest` sentences, short ones more often, and questions."""
    rng = random.Random(seed ^ 0x5EED)
    sentences = 3 + int((longest - 2) * rng.random() ** 1.5)
    return Story(seed, sentences, 2 + int(rng.random() * (3 + sentences // 4)))


def write_with_questions(path, seed, count):
    """Writes `count` stories of at most 60 sentences, seeds from `seed` on, one a line: text, and questions as [begin of the
    answer, its end, end of the sentence that states it], in characters."""
    with open(path, "w") as out:
        for i in range(count):
            s = story(seed + i, 60)
            questions = [[q.answer_start, q.answer_end, q.stated_end] for q in s.questions]
            out.write(json.dumps({"text": s.text, "questions": questions}) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--questions", type=int, default=5)
    args = parser.parse_args()
    s = Story(args.seed, args.sentences, args.questions)
    print(s.text)
    for q in s.questions:
        print(f"[{q.kind}] answer {q.answer_start - q.stated_end} characters after the statement")


if __name__ == "__main__":
    main()
