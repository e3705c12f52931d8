// What can be done from here: each with its dry run, its request, and the command line that does the same.
import { signal } from "@preact/signals";
import { group } from "./state.js";
import { coordinatorNow, hello, status } from "./stream.js";

/** The action that is being asked about: {kind, …about}, or null. */
export const asking = signal(null);
export const ask = (kind, about = {}) => (asking.value = { kind, ...about });

const DRY_REASON = "dry run";
const quoted = (text) => (/^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);
const until = (form) => new Date(coordinatorNow() + form.hours * 3_600_000).toISOString();
const hours = (form) => (form.hours < 1 ? `${Math.round(form.hours * 60)}m` : `${form.hours}h`);
const reasonFlag = (form) => ["--reason", quoted(form.reason || "…")];
const passed = (form) => form.passOver.flatMap((rule) => ["--override", rule]);
const isActive = (name) => status.value?.activeRegion === name;

/** The whole line, for a shell. */
export function commandLine(words) {
  const shown = group.value || status.value?.group;
  const place = hello.value ? ["--address", hello.value.grpc] : [];
  return ["primacy", ...words, ...(shown && shown !== "default" ? ["--group", quoted(shown)] : []), ...place].join(" ");
}

/** Fields: title, does (its button), about (a sentence), asks (fields of the form), dry and request (form ->
 *  [service, method, request]), words (form -> of the command line), typed (form -> what must be typed first, or ""). */
export const ACTIONS = {
  switchover: {
    title: ({ region }) => (region ? `Move the lease to ${region}` : "Move the lease"),
    does: (form) => (form.mode === "forced" ? "Force the failover" : "Move the lease"),
    about: () =>
      "Planned: writes stop, the new region catches up, the old one releases; nothing is lost. Forced: skips ranking and catching up, and may lose what has not arrived. Neither grants a lease before the old one has ended.",
    asks: ["target", "mode", "reason"],
    passes: true,
    dry: (form) => failover(form, { reason: form.reason || DRY_REASON, validateOnly: true }),
    request: (form) => failover(form, { reason: form.reason, owner: form.owner, ifEpoch: form.epoch }),
    words: (form) => [
      "failover",
      ...(form.target ? ["--to", form.target] : []),
      ...(form.mode === "forced" ? ["--forced"] : []),
      ...reasonFlag(form),
      ...(form.epoch ? ["--if-epoch", form.epoch] : []),
      ...passed(form),
    ],
    typed: (form, said) => (form.mode === "forced" ? form.target || said?.failover?.toRegion || "" : ""),
  },
  drain: {
    title: ({ region }) => `Drain ${region}`,
    does: () => "Drain it",
    about: () =>
      "Takes traffic off the region in steps, and lets finish what is in flight. An active region gives the lease to another one first.",
    asks: ["hours", "reason"],
    passes: true,
    dry: (form) =>
      region("DrainRegion", form, {
        reason: form.reason || DRY_REASON,
        expireTime: until(form),
        overrideRules: form.passOver,
        validateOnly: true,
      }),
    request: (form) =>
      region("DrainRegion", form, { reason: form.reason, owner: form.owner, expireTime: until(form), overrideRules: form.passOver }),
    words: (form) => ["drain", form.region, ...reasonFlag(form), "--for", hours(form), ...passed(form)],
    typed: (form) => (isActive(form.region) ? form.region : ""),
  },
  undrain: {
    title: ({ region }) => `Undrain ${region}`,
    does: () => "Give its traffic back",
    about: () => "Gives the region its traffic back, slowly. The lease stays where it is.",
    asks: [],
    request: (form) => region("UndrainRegion", form, { owner: form.owner }),
    words: (form) => ["undrain", form.region],
  },
  cordon: {
    title: ({ region }) => `Cordon ${region}`,
    does: () => "Cordon it",
    about: () => "Forbids the region to become active. Its traffic stays, and so does a lease that it holds.",
    asks: ["hours", "reason"],
    dry: (form) => region("CordonRegion", form, { reason: form.reason || DRY_REASON, expireTime: until(form), validateOnly: true }),
    request: (form) => region("CordonRegion", form, { reason: form.reason, owner: form.owner, expireTime: until(form) }),
    words: (form) => ["cordon", form.region, ...reasonFlag(form), "--for", hours(form)],
  },
  uncordon: {
    title: ({ region }) => `Uncordon ${region}`,
    does: () => "Let it become active",
    about: () => "Lets the region become active again. It moves no lease.",
    asks: [],
    request: (form) => region("UncordonRegion", form, { owner: form.owner }),
    words: (form) => ["uncordon", form.region],
  },
  pause: {
    title: () => "Pause automatic moves",
    does: () => "Pause them",
    about: () =>
      "The lease does not move by itself until the pause ends: if the active region fails meanwhile, nobody takes over. Renewals go on, and so do moves that somebody asks for.",
    asks: ["hours", "reason"],
    dry: (form) => election("PauseElection", { reason: form.reason || DRY_REASON, expireTime: until(form), validateOnly: true }),
    request: (form) => election("PauseElection", { reason: form.reason, owner: form.owner, expireTime: until(form) }),
    words: (form) => ["pause", ...reasonFlag(form), "--for", hours(form)],
  },
  resume: {
    title: () => "Resume automatic moves",
    does: () => "Resume",
    about: () => "The lease moves by itself again. A failover that was put off begins now.",
    asks: [],
    request: (form) => election("ResumeElection", { owner: form.owner }),
    words: () => ["resume"],
  },
  approve: {
    title: ({ failover: move }) => `Approve the move to ${move.toRegion}`,
    does: () => "Approve it",
    about: () => "The move goes on, and loses what it says below.",
    asks: ["reason"],
    request: (form) => election("ApproveFailover", { id: form.failover.id, reason: form.reason, owner: form.owner }),
    words: (form) => ["failover", "--approve", form.failover.id, ...reasonFlag(form)],
    typed: (form) => form.failover.toRegion,
  },
  cancel: {
    title: ({ failover: move }) => `Give up the move to ${move.toRegion || "another region"}`,
    does: () => "Give it up",
    about: () => "Nothing has been released yet: the region that was active stays active, if it lives.",
    asks: ["reason"],
    request: (form) => election("CancelFailover", { id: form.failover.id, reason: form.reason, owner: form.owner }),
    words: (form) => ["failover", "--cancel", form.failover.id, ...reasonFlag(form)],
  },
  acknowledge: {
    title: ({ alert }) => `Acknowledge ${alert.rule}${alert.region ? ` of ${alert.region}` : ""}`,
    does: () => "I look after it",
    about: () => "It is not sent again until it has been resolved. Everybody sees who looks after it, and why.",
    asks: ["reason"],
    request: (form) => [
      "StatusService",
      "AcknowledgeAlert",
      { group: group.value, id: form.alert.id, reason: form.reason, owner: form.owner },
    ],
    words: (form) => ["alerts", "ack", quoted(form.alert.id), ...reasonFlag(form)],
  },
};

function failover(form, rest) {
  const mode = form.mode === "forced" ? "FAILOVER_MODE_FORCED" : "FAILOVER_MODE_PLANNED";
  return election("Failover", { targetRegion: form.target, mode, overrideRules: form.passOver, ...rest });
}

const election = (method, request) => ["ElectionService", method, { group: group.value, ...request }];
const region = (method, form, request) => ["RegionService", method, { group: group.value, name: form.region, ...request }];
