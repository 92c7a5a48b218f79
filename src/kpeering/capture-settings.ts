import { readFileSync } from 'node:fs';
import { ALL_PORTS, assumedRules, parseRules, type Rules } from '../interceptor/rules-file.ts';
import { messageOf } from '../platform/errors.ts';
import type { Logger } from '../platform/log.ts';
import { kpeeringGid, ports } from '../platform/ports.ts';

/** What the init container and the pod's specification say of the capture. */
export interface CaptureSettings {
  readonly rules: Rules;
  /** A mark for the sidecar's own connections (SO_MARK), by which the rules know them where a group cannot: in user namespaces. */
  readonly mark?: number;
}

/** What a kpeering that makes its rules itself can capture: whatever is claimed. */
const liveRules: Rules = {
  ...assumedRules(ports.inbound, 'the rules come and go with the claims'),
  mode: 'tproxy',
  backend: 'nft',
  udp: { [ALL_PORTS]: ports.inbound },
  outbound: [ALL_PORTS],
};

/**
 * Reads KPEERING_RULES_FILE, KPEERING_EXEMPT_MARK and KPEERING_EXEMPT_GID. What cannot be read is logged, and redirect mode is taken for granted: in a pod
 * whose rules redirect, listening is what keeps the app reachable, and in any other it does no harm.
 */
export function captureSettings(environment: NodeJS.ProcessEnv, inbound: number, log: Logger): CaptureSettings {
  const rules = readRules(environment['KPEERING_RULES_FILE'] ?? '', inbound, log);
  const mark = exemptMark(environment, log);
  if (mark !== undefined) return { rules, mark };
  warnAboutGroup(environment, rules, log);
  return { rules };
}

/** Of a kpeering that makes its rules itself, as they are asked for. It knows its own calls by KPEERING_EXEMPT_MARK, else by its group. */
export function liveCaptureSettings(environment: NodeJS.ProcessEnv, log: Logger): CaptureSettings {
  const mark = exemptMark(environment, log);
  if (mark !== undefined) return { rules: liveRules, mark };
  warnAboutGroup({}, liveRules, log);
  return { rules: liveRules };
}

function exemptMark({ KPEERING_EXEMPT_MARK: markText = '' }: NodeJS.ProcessEnv, log: Logger): number | undefined {
  const mark = /^(?:0x[0-9a-f]{1,8}|\d{1,10})$/iu.test(markText) ? Number(markText) : undefined;
  if (markText !== '' && mark === undefined) log.error({ mark: markText }, 'KPEERING_EXEMPT_MARK is no number: it is not used');
  return mark;
}

/** The rules know our own calls by our group: as another one we would capture what we pass on. */
function warnAboutGroup({ KPEERING_EXEMPT_GID: text = '' }: NodeJS.ProcessEnv, rules: Rules, log: Logger): void {
  const group = process.getgid?.();
  const exempt = text === '' ? kpeeringGid : Number(text);
  if (group === exempt || (rules.outbound.length === 0 && !rules.dns && !rules.keepSource)) return;
  log.error(
    { group, exempt },
    'the pod captures its own calls, and the sidecar does not run as the group that is exempt: set runAsGroup, or the same KPEERING_EXEMPT_GID for both containers',
  );
}

function readRules(path: string, inbound: number, log: Logger): Rules {
  if (path === '') return assumedRules(inbound, 'there is no rules file');
  try {
    return parseRules(readFileSync(path, 'utf8'));
  } catch (error) {
    const reason = `the rules file ${path} cannot be used: ${messageOf(error)}`;
    log.error({ path }, `${reason}; has redirect.sh run in this pod, with KPEERING_RULES_FILE on a volume that both containers share?`);
    return assumedRules(inbound, reason);
  }
}
