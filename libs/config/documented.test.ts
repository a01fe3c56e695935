import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");

test("docs/configuration.md names every variable that a service reads, and no other", () => {
  const sources = [...globSync("services/*/config.ts", { cwd: root }), "libs/config/config.ts"];
  const read = sources.flatMap((file) =>
    [...readFileSync(join(root, file), "utf8").matchAll(/^\s+([A-Z][A-Z0-9_]+):/gm)].map(([, name]) => name),
  );
  const text = readFileSync(join(root, "docs/configuration.md"), "utf8");
  const services = text.slice(0, text.indexOf("## Telemetry"));
  const documented = [...services.matchAll(/^\| `([A-Z0-9_]+)`/gm)].map(([, name]) => name);
  expect(new Set(documented)).toEqual(new Set(read));
});
