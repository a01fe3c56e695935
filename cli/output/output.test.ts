import fc from "fast-check";
import { expect, test } from "vitest";
import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { CheckpointStorage } from "#contracts/vm/v1/vm";
import { showTree } from "./checkpoint-tree.ts";
import { showStorage } from "./storage.ts";
import { renderFields, renderTable, tableWidth } from "./table.ts";
import { showAge, showBytes } from "./units.ts";

test("a table has columns as wide as they need", () => {
  expect(
    renderTable(
      ["NAME", "STATE"],
      [
        ["web-1", "running"],
        ["a", ""],
      ],
    ),
  ).toBe("NAME   STATE\nweb-1  running\na\n");
});

test("a table fits 100 columns, whatever is in it, one line a row", () => {
  const cell = fc.string({ unit: "grapheme", maxLength: 150 });
  fc.assert(
    fc.property(fc.array(fc.tuple(cell, cell, cell, cell), { maxLength: 5 }), (rows) => {
      const lines = renderTable(["A", "B", "C", "D"], rows).split("\n");
      expect(lines.length).toBe(rows.length + 2);
      for (const line of lines) expect(Array.from(line).length).toBeLessThanOrEqual(tableWidth);
    }),
  );
});

test("what names a row stays whole as long as the rest can give way", () => {
  const id = "op-cb24bb473a8a0c9c70f6cd0e5e1234567";
  const row = [id, "checkpoint.create", "projects/default", "failed", "PRODUCTION_NOT_REACHED", "14s"];
  const [, line] = renderTable(["ID", "KIND", "TARGET", "STATE", "AT", "AGE"], [row]).split("\n");
  expect(line).toMatch(new RegExp(`^${id} .*…`));
});

test("what a guest says cannot steer the terminal", () => {
  expect(renderTable(["A"], [["\u001b[2Jx\ny"]])).toBe("A\n�[2Jx y\n");
  expect(
    renderFields([
      ["Name", "a\u0007\nb"],
      ["Empty", ""],
      ["None", undefined],
    ]),
  ).toBe("Name: a�\n      b\n");
});

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1 KiB"],
  [512 * 2 ** 20, "512 MiB"],
  [1.5 * 2 ** 30, "1.5 GiB"],
])("%d bytes are %s", (bytes, text) => expect(showBytes(bytes)).toBe(text));

test.each([
  [0, "0s"],
  [59_999, "59s"],
  [60_000, "1m"],
  [3 * 3_600_000, "3h"],
  [-5, "0s"],
  [49 * 3_600_000, "2d"],
])("%d ms ago is %s", (ms, text) => expect(showAge(new Date(10 ** 12 - ms), new Date(10 ** 12))).toBe(text));

const checkpoint = (uid: string, parent: string): Checkpoint =>
  Checkpoint.fromPartial({
    uid,
    parent,
    displayName: uid.toUpperCase(),
    kind: "CHECKPOINT_KIND_PRODUCTION",
    consistency: "CONSISTENCY_APPLICATION",
  });

const time = new Date("2026-03-01T12:00:00Z");

/** The names as they are drawn, under the headings. */
const names = (tree: string): string[] =>
  tree
    .split("\n")
    .slice(1, -1)
    .map((line) => line.replace(/ +production.*$/, ""));

test("the tree branches where a checkpoint was applied, and shows now", () => {
  const checkpoints = [checkpoint("a", ""), checkpoint("b", "a"), checkpoint("c", "b"), checkpoint("d", "a")];
  const tree = showTree(checkpoints, "b", time);
  expect(names(tree)).toEqual(["└─ A", "   ├─ B", "   │  ├─ C", "   │  └─ now", "   └─ D"]);
});

test("no checkpoint is lost when its parent is not listed", () => {
  expect(names(showTree([checkpoint("b", "gone")], "gone", time))).toEqual(["├─ B", "└─ now"]);
});

test("the tree tells what each checkpoint is, takes and has proven", () => {
  const known = {
    ...checkpoint("a", ""),
    createTime: new Date("2026-03-01T09:00:00Z"),
    provenTime: new Date("2026-03-01T11:00:00Z"),
    sizeBytes: 2 ** 20,
    cumulativeBytes: 2 ** 30,
    protected: true,
  };
  expect(showTree([known], "a", time)).toBe(
    [
      "NAME       KIND        CONSISTENCY  AGE  SIZE   WITH BELOW  PROTECTED  PROVEN",
      "└─ A       production  application  3h   1 MiB  1 GiB       yes        1h ago",
      "   └─ now",
      "",
    ].join("\n"),
  );
});

test("storage is told on one line, and what is not known is left out", () => {
  const storage = CheckpointStorage.fromPartial({ hiddenLayers: 1, freeBytes: 40 * 2 ** 30 });
  expect(showStorage(undefined)).toBe("");
  expect(showStorage(storage)).toBe("To merge: nothing, 1 hidden layer. Free: 40 GiB.");
  const busy = {
    mergeDebtBytes: 3 * 2 ** 20,
    mergeWaitsFor: "space.insufficient",
    growthBytesPerHour: 2 ** 30,
    fullIn: { seconds: 3 * 86_400, nanos: 0 },
  };
  expect(showStorage({ ...storage, hiddenLayers: 2, ...busy })).toBe(
    "To merge: 3 MiB, waits for space.insufficient, 2 hidden layers. Free: 40 GiB, full in 3d; this VM takes 1 GiB an hour.",
  );
});
