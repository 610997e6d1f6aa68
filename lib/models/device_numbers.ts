/** Schemas of numbers that the device computes with, checked in the device's precision. */
import { z } from 'zod';
import { describeNumber } from './validation';

/** The least number above 0 that fp32 holds with all its digits; devices may take smaller ones for 0. */
const LEAST = 2 ** -126;

/**
 * A number that acts in fp32. It must keep the schema's bounds when it is rounded to fp32, where 1 − 1e-9 is 1 and 1e-46 is
 * 0, and must be 0 or at least 2^-126 in magnitude.
 */
export const fp32 = (schema: z.ZodNumber): z.ZodNumber => rounded(schema, Math.fround, 'fp32');

/** A probability in [0, 1) of dropout, which compares p · 2^24, rounded up, with 24 random bits. */
export const dropoutProbability = (): z.ZodNumber =>
  rounded(z.number().min(0).lt(1), (p) => Math.ceil(Math.fround(p) * 2 ** 24) / 2 ** 24, 'steps of 2^-24');

function rounded(schema: z.ZodNumber, round: (value: number) => number, precision: string): z.ZodNumber {
  const accepts = (value: number): boolean => z.safeParse(schema, value).success;
  const acts = (value: number): boolean =>
    accepts(round(value)) && (value === 0 || (Math.abs(value) >= LEAST && round(value) !== 0));
  return schema.refine((value) => !accepts(value) || acts(value), {
    error: ({ input }) => {
      const value = input as number;
      const allowed = describeNumber(schema, value);
      return Math.abs(value) < LEAST
        ? `must be ${allowed}, and ${accepts(0) ? '0 or ' : ''}at least ${LEAST.toPrecision(3)}, the smallest number in fp32, not ${value}`
        : `must be ${allowed} in ${precision}: ${value} is rounded to ${round(value)}`;
    },
  });
}
