import { expect, test } from "vitest";
import { ContainerSpec } from "#contracts/container/v1/container";
import { type HostMount, refuseForbidden, refuseNested } from "./isolation.ts";

const writable = (path: string): HostMount => ({ path, readOnly: false });
const readOnly = (path: string): HostMount => ({ path, readOnly: true });

test.each<[HostMount, HostMount, boolean]>([
  [writable("/srv/a"), writable("/srv/a"), true],
  [writable("/srv/a"), writable("/srv/ab"), true],
  [readOnly("/srv/a/b"), readOnly("/srv/a"), true],
  [writable("/srv/a/b"), readOnly("/srv/a"), true],
  [readOnly("/srv/a/b"), writable("/srv/a"), false],
  [writable("/srv/a"), readOnly("/srv/a/b/c"), false],
])("%j beside %j: %j", (mount, other, isFine) => {
  const refuse = () => refuseNested([mount], [other]);
  if (isFine) expect(refuse).not.toThrow();
  else expect(refuse).toThrow(expect.objectContaining({ reason: "OPTION_FORBIDDEN" }));
  // Of one container it is the same.
  if (!isFine) expect(() => refuseNested([mount, other], [])).toThrow();
});

test("a capability is allowed by its name, however it is written", () => {
  const policy = { hostRoot: undefined, capabilities: new Set(["NET_ADMIN"]) };
  const adding = (...addCapabilities: string[]) => ContainerSpec.fromPartial({ addCapabilities });
  expect(() => refuseForbidden(adding("NET_ADMIN", "cap_net_admin"), policy)).not.toThrow();
  expect(() => refuseForbidden(adding("NET_RAW"), policy)).toThrow("NET_RAW");
});

test.each<[Parameters<typeof ContainerSpec.fromPartial>[0]]>([
  [{ limits: { cpuMillis: 9 } }],
  [{ limits: { memoryBytes: 2 ** 20 } }],
  [{ limits: { pids: -1 } }],
  [{ env: { "A=B": "" } }],
  [{ ports: [{ hostPort: 0, containerPort: 80 }] }],
  [{ ports: [{ hostPort: 80, containerPort: 80, protocol: "sctp" }] }],
  [{ volumes: [{ volume: "a", path: "data" }] }],
  [{ volumes: [{ volume: "a", path: "/data/../etc" }] }],
  [{ volumes: [{ volume: "../a", path: "/data" }] }],
  [{ volumes: [{ volume: "a", hostPath: "/srv", path: "/data" }] }],
  [
    {
      volumes: [
        { volume: "a", path: "/one" },
        { volume: "a", path: "/two" },
      ],
    },
  ],
])("%j is refused", (spec) => {
  const policy = { hostRoot: "/srv", capabilities: new Set<string>() };
  expect(() => refuseForbidden(ContainerSpec.fromPartial(spec), policy)).toThrow("the container cannot be made");
});
