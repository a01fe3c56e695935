import { InvalidArgumentError } from "commander";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseCheckpointType } from "./checkpoint-type.ts";
import { parseContainerPort } from "./container-port.ts";
import { parseCpus } from "./cpus.ts";
import { parseDisk } from "./disk.ts";
import { parseDuration } from "./duration.ts";
import { collectLabel } from "./label.ts";
import { parsePortForward } from "./port-forward.ts";
import { parseRestart } from "./restart.ts";
import { parseSince } from "./since.ts";
import { parseSize } from "./size.ts";
import { parseVariable, parseVariables, toEnvironment } from "./variable.ts";
import { parseVolume } from "./volume.ts";
import { wholeNumber } from "./whole-number.ts";
import { parseWorkload } from "./workload.ts";

test.each([
  ["512MiB", 512 * 2 ** 20],
  ["1GiB", 2 ** 30],
  ["2G", 2 * 2 ** 30],
  ["2g", 2 * 2 ** 30],
  ["1.5GiB", 1.5 * 2 ** 30],
  ["64k", 65_536],
  ["1 TiB", 2 ** 40],
  ["1048576", 1_048_576],
  ["512B", 512],
])("the size %s is %d bytes", (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each([
  "",
  "0",
  "-1",
  "1.5",
  "1e3",
  "GiB",
  "1XB",
  "1GB",
  "0.0001K",
  "9999999999999G",
  "1GiB ago",
  "Infinity",
  "0x10",
])("%j is no size", (text) => expect(() => parseSize(text)).toThrow(InvalidArgumentError));

test("a whole number in each unit is read as that many", () => {
  const units = fc.constantFrom(["K", 1], ["MiB", 2], ["G", 3], ["TiB", 4] as const);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8_000 }), units, (count, [unit, power]) => {
      expect(parseSize(`${count}${unit}`)).toBe(count * 1024 ** Number(power));
    }),
  );
});

test("a size is a positive safe integer, or refused", () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[0-9.]{0,18} ?[KMGTiB]{0,3}$/), (text) => {
      let bytes: number;
      try {
        bytes = parseSize(text);
      } catch (error) {
        expect(error).toBeInstanceOf(InvalidArgumentError);
        return;
      }
      expect(Number.isSafeInteger(bytes) && bytes > 0).toBe(true);
    }),
  );
});

test.each([
  ["web-1", "web-1"],
  ["vm/web-1", "web-1"],
  ["container/web-1", "container/web-1"],
])("the workload %s is %s", (text, workload) => expect(parseWorkload(text)).toBe(workload));

test.each(["container/a/b", "vm/a/b", "/a", "a/"])("%j is no workload", (text) =>
  expect(() => parseWorkload(text)).toThrow(InvalidArgumentError),
);

test("a port forward is two ports", () => {
  expect(parsePortForward("8080:80")).toEqual({ hostPort: 8080, guestPort: 80 });
  for (const text of ["80", "80:", ":80", "0:80", "80:65536", "1:2:3", "a:b", "-1:80", "8e1:80"]) {
    expect(() => parsePortForward(text)).toThrow(InvalidArgumentError);
  }
});

test("labels gather, the last of a key wins", () => {
  expect(collectLabel("a=3", collectLabel("b=x=y", collectLabel("a=1")))).toEqual({ a: "3", b: "x=y" });
  for (const text of ["a", "=b", "-a=b", `a=${"x".repeat(64)}`]) {
    expect(() => collectLabel(text)).toThrow(InvalidArgumentError);
  }
});

test("a checkpoint type is one of four words", () => {
  expect(parseCheckpointType("production-only")).toBe("CHECKPOINT_TYPE_PRODUCTION_ONLY");
  for (const text of ["", "Production", "constructor"]) {
    expect(() => parseCheckpointType(text)).toThrow("production, production-only, standard, disabled");
  }
});

test("a whole number stays in its range", () => {
  const cpus = wholeNumber(1, 256);
  expect([cpus("1"), cpus("256")]).toEqual([1, 256]);
  for (const text of ["0", "257", "1.0", " 1", "+1", ""]) expect(() => cpus(text)).toThrow("from 1 to 256");
});

test("a disk may be left out of checkpoints", () => {
  expect(parseDisk("1GiB")).toEqual({ sizeBytes: 2 ** 30, excludeFromCheckpoints: false });
  expect(parseDisk("1GiB,exclude")).toEqual({ sizeBytes: 2 ** 30, excludeFromCheckpoints: true });
  for (const bad of ["1GiB,", "1GiB,include", "1GiB,exclude,exclude", ",exclude"]) {
    expect(() => parseDisk(bad)).toThrow(InvalidArgumentError);
  }
});

test("a duration is of hours, minutes and seconds", () => {
  expect(["90s", "10m", "1h30m", "0"].map((text) => parseDuration(text).seconds)).toEqual([90, 600, 5_400, 0]);
  for (const bad of ["", "10", "m", "1d", "-1m", "10m ", "1.5h", "10M"]) {
    expect(() => parseDuration(bad)).toThrow("Write a duration");
  }
});

test("a container's port is TCP unless it says otherwise", () => {
  expect(parseContainerPort("8080:80")).toEqual({ hostPort: 8080, containerPort: 80, protocol: "tcp" });
  expect(parseContainerPort("53:53/udp").protocol).toBe("udp");
  for (const text of ["80", "80:", "0:80", "80:80/sctp", "1:2:3", "80:80/"]) {
    expect(() => parseContainerPort(text)).toThrow(InvalidArgumentError);
  }
});

test("a volume has a name or is a folder of the host", () => {
  const volume = { volume: "a", hostPath: "", path: "/a", readOnly: false, excludeFromCheckpoints: false };
  expect(parseVolume("a:/a")).toEqual(volume);
  expect(parseVolume("a:/a:exclude,ro")).toEqual({ ...volume, readOnly: true, excludeFromCheckpoints: true });
  expect(parseVolume("/srv:/a:ro")).toEqual({ ...volume, volume: "", hostPath: "/srv", readOnly: true });
  for (const text of ["a", ":/a", "a:", "a:/a:rw", "a:/a:ro,ro", "a:/a:ro:ro", "a:/a:"]) {
    expect(() => parseVolume(text)).toThrow(InvalidArgumentError);
  }
});

test("CPUs may be parts of one", () => {
  expect(["1", "0.5", "0.01", "256"].map(parseCpus)).toEqual([1_000, 500, 10, 256_000]);
  for (const text of ["0", "0.001", "-1", "1e3", "0.0005", "", "half"]) expect(() => parseCpus(text)).toThrow("0.01");
});

test("a restart policy is a word, and for failures a number", () => {
  expect(parseRestart("on-failure:3")).toEqual({ mode: "MODE_ON_FAILURE", maxRetries: 3 });
  expect(["no", "always", "on-failure"].map((text) => parseRestart(text).mode)).toEqual([
    ...["MODE_NO", "MODE_ALWAYS", "MODE_ON_FAILURE"],
  ]);
  for (const text of ["", "never", "no:1", "always:", "on-failure:", "on-failure:x"]) {
    expect(() => parseRestart(text)).toThrow("on-failure:N");
  }
});

test("variables come from files and from here, the last of a name wins", () => {
  const file = parseVariables("# x\nA=1\r\n\nB=x=y\nHOME\n");
  expect(toEnvironment([...file, parseVariable("A=2"), parseVariable("GONE")], { HOME: "/root" })).toEqual({
    ...{ A: "2", B: "x=y", HOME: "/root" },
  });
  expect(() => parseVariable("=x")).toThrow(InvalidArgumentError);
});

test("a time is one, or how long ago", () => {
  const now = new Date("2026-03-01T12:00:00Z");
  const since = parseSince(() => now);
  expect(since("10m")).toEqual(new Date("2026-03-01T11:50:00Z"));
  expect(since("2026-03-01T11:00:00+01:00")).toEqual(new Date("2026-03-01T10:00:00Z"));
  for (const text of ["", "yesterday", "10", "2026-13-01T00:00:00Z"]) expect(() => since(text)).toThrow("Write a");
});
