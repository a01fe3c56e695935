import fc from "fast-check";
import { expect, test } from "vitest";
import {
  checkDisplayName,
  checkId,
  checkName,
  checkpointName,
  containerName,
  groupCheckpointName,
  groupName,
  hostIdOf,
  hostName,
  ledgerName,
  operationName,
  parseCheckpointName,
  parseContainerName,
  parseGroupCheckpointName,
  parseGroupName,
  parseHostName,
  parseOperationName,
  parseProject,
  parseScheduleName,
  parseVmName,
  projectName,
  scheduleName,
  vmName,
  workloadOf,
} from "#libs/names";

const name = fc.stringMatching(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/);
const id = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);

test("what is built is parsed back", () => {
  fc.assert(
    fc.property(name, name, id, (project, vm, checkpoint) => {
      expect(parseProject(projectName(project))).toBe(project);
      expect(parseVmName(vmName(project, vm))).toEqual({ project, vm });
      expect(parseContainerName(containerName(project, vm))).toEqual({ project, container: vm });
      const full = checkpointName(vmName(project, vm), checkpoint);
      expect(parseCheckpointName(full)).toEqual({ workload: vmName(project, vm), checkpoint });
      expect(workloadOf(full)).toBe(vmName(project, vm));
      expect(parseScheduleName(scheduleName(project, vm))).toEqual({ project, schedule: vm });
      expect(parseGroupName(groupName(project, vm))).toEqual({ project, group: vm });
      const ofGroup = groupCheckpointName(groupName(project, vm), checkpoint);
      expect(parseGroupCheckpointName(ofGroup)).toEqual({ group: groupName(project, vm), checkpoint });
      expect(parseHostName(hostName(vm))).toBe(vm);
      expect(parseOperationName(operationName(checkpoint))).toBe(checkpoint);
    }),
  );
});

test("a name that is accepted cannot leave its place in a path, a subject or a resource name", () => {
  const nearName = fc.tuple(name, fc.string({ unit: "binary", maxLength: 2 }), fc.nat(63));
  fc.assert(
    fc.property(nearName, ([good, extra, at]) => {
      const text = good.slice(0, at) + extra + good.slice(at);
      const safe = /^[a-z0-9-]{1,63}$/.test(text);
      if (!safe) expect([accepted(() => checkName("VM", text)), accepted(() => checkId(text))]).toEqual([false, false]);
    }),
  );
});

test.each(["", "A", "1a", "-a", "a-", "a_b", "a.b", "a/b", "a".repeat(64), "a\n", "ä", "..", "a*", "a>"])(
  "%j is no name",
  (text) => {
    expect(() => checkName("VM", text)).toThrowError(expect.objectContaining({ reason: "NAME_INVALID" }));
  },
);

test.each(["projects/p", "projects/p/vms/", "projects/p/vms/a/b", "projects/p/vms/a\n", "vms/a", "projects/../vms/a"])(
  "%j is no VM's name",
  (text) => {
    expect(() => parseVmName(text)).toThrowError(expect.objectContaining({ reason: "NAME_INVALID" }));
  },
);

test("a checkpoint may be named by its display name", () => {
  expect(parseCheckpointName("projects/p/vms/a/checkpoints/before / after\n2")).toEqual({
    workload: "projects/p/vms/a",
    checkpoint: "before / after\n2",
  });
  expect(() => parseCheckpointName("projects/p/vms/A/checkpoints/x")).toThrow("not a name for a VM");
});

test("a display name has 1 to 99 code points and no control characters", () => {
  for (const good of ["x", "🙂".repeat(99), "vor dem Umzug: Größe"]) expect(checkDisplayName(good)).toBe(good);
  for (const bad of ["", "🙂".repeat(100), "a\nb", "\u0000", "\u{d800}", "a\u2028b", "\u007f"]) {
    expect(accepted(() => checkDisplayName(bad))).toBe(false);
  }
});

test("an error shows a name safely", () => {
  expect(() => checkName("VM", `\u001b[2J${"x".repeat(500)}`)).toThrow(/^"\\u001b\[2Jx{96}…" is not a name for a VM$/);
});

test.each([
  ["web-1", "web-1"],
  ["Web_1.example.org", "web-1"],
  ["42", "host"],
  ["9node-", "node"],
])("a host named %s is %s", (name, id) => {
  expect(hostIdOf(name)).toBe(id);
});

test("a ledger stands under its host", () => expect(ledgerName(hostName("n1"))).toBe("hosts/n1/ledger"));

function accepted(check: () => unknown): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}
