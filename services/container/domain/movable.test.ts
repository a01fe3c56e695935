import { expect, test } from "vitest";
import { whyBound } from "./movable.ts";

const volume = { volume: "data", excludeFromCheckpoints: false, hostPath: "" };
const free = { host: "", volumes: [volume] };

test("a container with volumes of its own may go anywhere", () => {
  expect(whyBound(free, 0)).toBeUndefined();
});

test.each([
  ["it has to be on hosts/n1", { ...free, host: "hosts/n1" }, 0],
  ["it mounts the host's folder /srv/web", { ...free, volumes: [volume, { ...volume, hostPath: "/srv/web" }] }, 0],
  ["its volume data is of no checkpoint", { ...free, volumes: [{ ...volume, excludeFromCheckpoints: true }] }, 0],
  ["checkpoints stay on their host, and it has 2", free, 2],
])("%s", (why, spec, checkpoints) => {
  expect(whyBound(spec, checkpoints)).toContain(why);
});
