import { expect, test } from "vitest";
import { authorise, localPrincipal, may } from "#libs/auth";

test("the local principal may do everything", () => {
  expect(() => authorise(localPrincipal, "delete", "projects/default/vms/a")).not.toThrow();
});

test("a service may do what it was set up for", () => {
  const schedule = { name: "schedule/nightly", kind: "service" } as const;
  expect(() => authorise(schedule, "create", "projects/default/vms/a")).not.toThrow();
});

test("users and robots may do what was granted to them, and nothing beside it", () => {
  const grants = [
    { resources: "repositories/team-a/*", verbs: ["get", "update"] },
    { resources: "repositories/base", verbs: ["get"] },
  ] as const;
  for (const kind of ["user", "robot"] as const) {
    const can = (verb: "get" | "update" | "delete", resource: string) =>
      may({ name: "x", kind, grants }, verb, resource);
    expect(can("get", "repositories/team-a/web")).toBe(true);
    expect(can("update", "repositories/team-a/web/deep")).toBe(true);
    expect(can("get", "repositories/base")).toBe(true);
    expect(can("delete", "repositories/team-a/web")).toBe(false);
    expect(can("update", "repositories/base")).toBe(false);
    for (const other of ["repositories/team-a", "repositories/team-ab/x", "repositories/base/x", "projects/team-a/*"]) {
      expect(can("get", other)).toBe(false);
    }
  }
});

test("an administrator may do everything, a host nothing that was not granted", () => {
  const admin = { name: "admin/ada", kind: "admin" } as const;
  const host = { name: "host/n1", kind: "host" } as const;
  expect(() => authorise(admin, "delete", "projects/default/vms/a")).not.toThrow();
  expect(() => authorise(host, "get", "projects/default/vms/a")).toThrow("was not found");
});

test("anyone else learns only that nothing was found", () => {
  const stranger = { name: "user/eve", kind: "user" } as const;
  expect(() => authorise(stranger, "get", "projects/default/vms/a")).toThrowError(
    expect.objectContaining({ reason: "PERMISSION_DENIED", code: 5, message: "projects/default/vms/a was not found" }),
  );
});
