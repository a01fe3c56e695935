import { expect, test } from "vitest";
import { CheckpointReadiness, CheckpointType } from "#contracts/vm/v1/vm";
import { judgeReadiness } from "#libs/readiness";
import { fakeCluster } from "../testing/fake-cluster.ts";

const { PRODUCTION, PRODUCTION_ONLY, STANDARD, DISABLED } = CheckpointType;

async function check(codes: readonly string[], policy: CheckpointType, change: Partial<CheckpointReadiness> = {}) {
  const findings = codes.map((code) => ({ code, message: `message of ${code}` }));
  const seen = CheckpointReadiness.fromPartial({ findings, freeBytes: 2 ** 30, ...change });
  const checkReadiness = async () => judgeReadiness(seen, policy);
  await using cluster = await fakeCluster({ checkpoints: { checkReadiness } });
  return await cluster.run(["checkpoint", "check", "web-1"]);
}

test.each<[readonly string[], CheckpointType, number, string]>([
  [[], PRODUCTION, 0, "production (filesystem consistent)"],
  [["agent.absent"], PRODUCTION, 1, "standard (saved-state consistent), not production: agent.absent"],
  [["agent.absent"], PRODUCTION_ONLY, 1, "refused: agent.absent"],
  [["agent.absent"], STANDARD, 0, "standard (saved-state consistent)"],
  [["ram.blocked_device"], STANDARD, 1, "refused: ram.blocked_device"],
  [["agent.absent"], DISABLED, 0, "refused: policy.disabled"],
  [["vm.off"], PRODUCTION_ONLY, 0, "offline"],
  [["vm.crashed"], PRODUCTION, 1, "offline (crash consistent), not production: vm.crashed"],
  [["hooks.disabled"], PRODUCTION, 0, "production (filesystem consistent)"],
])("with %j and the policy %s it ends with %d and says: %s", async (codes, policy, code, verdict) => {
  const ran = await check(codes, policy);
  expect(ran).toMatchObject({ code, err: "" });
  expect(ran.out.split("\n")[0]).toBe(`A checkpoint now: ${verdict}.`);
});

test("facts are shown, and findings with what to do, the gravest first", async () => {
  const { out } = await check(["hooks.disabled", "agent.absent"], PRODUCTION, {
    guestAgent: { connected: true, version: "7.2.22" },
    freezeEnabled: true,
    writers: [{ name: "redis", state: "ready", detail: "" }],
    mounts: [{ path: "/usb", type: "vfat", freezable: false, why: "not known to support freezing" }],
  });
  expect(out).toBe(`A checkpoint now: standard (saved-state consistent), not production: agent.absent.

Policy:      production
Guest agent: 7.2.22
Freeze:      allowed
Hooks:       no
Writers:     redis ready
Not frozen:  /usb (vfat: not known to support freezing)
Free space:  1 GiB

error agent.absent:     message of agent.absent
                        Install qemu-guest-agent in the guest, start it, and try again.
warning hooks.disabled: message of hooks.disabled
                        Start qemu-guest-agent with -F/etc/qemu/fsfreeze-hook: deploy/guest has what it takes.
`);
});
