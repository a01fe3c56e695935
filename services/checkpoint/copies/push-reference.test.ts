import { expect, it } from "vitest";
import { isRepository, isTag } from "#libs/oci";
import { defaultTarget, pushTarget } from "./push-reference.ts";

const workload = "projects/default/vms/web-1";
const checkpoint = { workload, uid: "ckpt-1", displayName: "before upgrade" };

it.each([
  ["", "checkpoints/web-1", "before-upgrade"],
  ["backup/web", "backup/web", "before-upgrade"],
  ["backup/web:monday", "backup/web", "monday"],
])("pushes %j to %s:%s", (reference, repository, tag) => {
  expect(pushTarget(reference, checkpoint)).toEqual({ repository, tag });
});

it.each(["a", "Ärger 2026", "日本", "../x", ".hidden", "-", "x".repeat(99)])(
  "gives %j a tag that is one",
  (displayName) => {
    const { repository, tag } = defaultTarget({
      ...checkpoint,
      workload: "projects/team/containers/web-1",
      displayName,
    });
    expect([isRepository(repository), isTag(tag)]).toEqual([true, true]);
  },
);

it("refuses what is no reference", () => {
  expect(() => pushTarget("Not/OK", checkpoint)).toThrow(expect.objectContaining({ reason: "NAME_INVALID" }));
});
