import test from 'ava';
import type { Authority, ServingCertificate } from '../../../../src/operator/certificates/contents.ts';
import { nextStep, rotationTimes, type RotationView } from '../../../../src/operator/certificates/rotation.ts';

const DAY = 86_400_000;
const { spreadMilliseconds: spread } = rotationTimes;

/** A certificate that begins on that day, for 90 days. */
function certificate(day: number): ServingCertificate {
  return { authority: `a${day}`, certificate: `c${day}`, key: `k${day}`, notBefore: day * DAY, notAfter: (day + 90) * DAY };
}

function authority(day: number): Authority {
  return { authority: `a${day}`, notAfter: (day + 90) * DAY };
}

function step(contents: Partial<RotationView['contents']>, view: Partial<RotationView> = {}) {
  return nextStep({
    contents: { current: undefined, next: undefined, previous: undefined, ...contents },
    requested: false,
    trustedSince: undefined,
    servedSince: undefined,
    now: 10 * DAY,
    ...view,
  });
}

test('the first certificate is made at once', (t) => {
  t.is(step({}).kind, 'issue');
});

test('one that has ended is replaced at once: by the next one, if there is one', (t) => {
  t.is(step({ current: certificate(0) }, { now: 91 * DAY }).kind, 'issue');
  t.is(step({ current: certificate(0), next: certificate(60) }, { now: 91 * DAY }).kind, 'serve');
  t.is(step({ next: certificate(5) }).kind, 'serve');
});

test('nothing is done for two thirds of its life, and it is looked at every hour', (t) => {
  t.deepEqual(step({ current: certificate(0) }, { now: 59 * DAY }), { kind: 'wait', milliseconds: 3_600_000 });
  t.deepEqual(step({ current: certificate(0) }, { now: 60 * DAY - 1000 }), { kind: 'wait', milliseconds: 1000 });
});

test('then, or when somebody asks for it, the next one is announced: 30 days before the end', (t) => {
  t.is(step({ current: certificate(0) }, { now: 60 * DAY }).kind, 'announce');
  t.is(step({ current: certificate(0) }, { requested: true }).kind, 'announce');
});

test('the next one is not served before the API servers have had time to trust it', (t) => {
  const contents = { current: certificate(0), next: certificate(10) };
  t.is(step(contents).kind, 'wait');
  t.is(step(contents, { trustedSince: 10 * DAY - spread + 1 }).kind, 'wait');
  t.is(step(contents, { trustedSince: 10 * DAY - spread }).kind, 'serve');
});

test('the old authority stays trusted until no replica serves the old certificate', (t) => {
  const contents = { current: certificate(9), previous: authority(0) };
  t.is(step(contents).kind, 'wait');
  t.is(step(contents, { servedSince: 10 * DAY - spread + 1 }).kind, 'wait');
  t.is(step(contents, { servedSince: 10 * DAY - spread }).kind, 'retire');
});

test('an authority that has ended is of no use: it goes, whoever serves what', (t) => {
  t.is(step({ current: certificate(60), previous: authority(0) }, { now: 91 * DAY }).kind, 'retire');
});

test('a next one that was not served for so long that it is due itself is made anew', (t) => {
  t.is(step({ current: certificate(30), next: certificate(0) }, { now: 61 * DAY, trustedSince: 0 }).kind, 'announce');
});

test('a request during a rotation begins no second one', (t) => {
  t.is(step({ current: certificate(0), next: certificate(10) }, { requested: true }).kind, 'wait');
  t.is(step({ current: certificate(9), previous: authority(0) }, { requested: true }).kind, 'wait');
});
