import { expect, test } from "vitest";
import { Lifecycle } from "#libs/lifecycle";

test("closes in reverse order, once, with the signal first", async () => {
  const closed: string[] = [];
  const lifecycle = new Lifecycle();
  lifecycle.signal.addEventListener("abort", () => closed.push("signal"));
  for (const name of ["redis", "nats", "server"]) lifecycle.add(name, name, (part) => void closed.push(part));
  await Promise.all([lifecycle.close(), lifecycle.close()]);
  expect(closed).toEqual(["signal", "server", "nats", "redis"]);
});

test("closes every part although one fails", async () => {
  const closed: string[] = [];
  const lifecycle = new Lifecycle();
  lifecycle.add("redis", null, () => void closed.push("redis"));
  lifecycle.add("nats", null, () => Promise.reject(new Error("gone")));
  await expect(lifecycle.close()).rejects.toThrow("shutdown was not clean");
  expect(closed).toEqual(["redis"]);
});

test("a part that comes too late is closed too, and its start ends", async () => {
  const closed: string[] = [];
  const lifecycle = new Lifecycle();
  await lifecycle.close();
  expect(() => lifecycle.add("late", null, () => void closed.push("late"))).toThrow("the process is stopping");
  await lifecycle.close();
  expect(closed).toEqual(["late"]);
});
