// asciichart ships no types; these are the parts that loss_curve.ts uses.
declare module 'asciichart' {
  interface PlotConfig {
    height?: number;
    colors?: (string | undefined)[];
    format?: (value: number) => string;
  }
  const asciichart: { plot(series: number[][], config?: PlotConfig): string; blue: string; yellow: string };
  export = asciichart;
}
