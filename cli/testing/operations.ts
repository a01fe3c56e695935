/** One operation as it goes on. */
export const accepted = {
  name: "operations/abc",
  kind: "vm.create",
  target: "projects/default/vms/web-1",
  state: "OPERATION_STATE_PENDING",
} as const;
export const running = (step: string, message = "") =>
  ({ ...accepted, state: "OPERATION_STATE_RUNNING", progress: { step, message, percent: 40 } }) as const;
export const succeeded = { ...accepted, state: "OPERATION_STATE_SUCCEEDED", done: true } as const;
