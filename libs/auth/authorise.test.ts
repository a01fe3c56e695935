import { expect, test } from "vitest";
import { authorise, localPrincipal } from "#libs/auth";

test("the local principal may do everything", () => {
  expect(() => authorise(localPrincipal, "delete", "projects/default/vms/a")).not.toThrow();
});

test("a service may do what it was set up for", () => {
  const schedule = { name: "schedule/nightly", kind: "service" } as const;
  expect(() => authorise(schedule, "create", "projects/default/vms/a")).not.toThrow();
});

test("anyone else learns only that nothing was found", () => {
  const stranger = { name: "user/eve", kind: "user" } as const;
  expect(() => authorise(stranger, "get", "projects/default/vms/a")).toThrowError(
    expect.objectContaining({ reason: "PERMISSION_DENIED", code: 5, message: "projects/default/vms/a was not found" }),
  );
});
