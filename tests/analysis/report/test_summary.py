from complete import complete

from analysis.analyse import analyse
from analysis.report.summary import summarise


def test_the_summary_gives_law_exponents_and_forecast(analysed):
    text = summarise(analysed)
    for part in (
        "22 runs fitted",
        "E + A / N^alpha",
        "beta",
        "IsoFLOP",
        "Forecast for 3.2e+12 FLOPs",
        "too few to resample",
    ):
        assert part in text, part


def test_the_summary_says_what_could_not_be_done(synthetic):
    assert "Not done: surface fit" in summarise(analyse(synthetic.study().slice(0, 5), draws=20))


def test_the_law_section_gives_residual_scale_and_seed_noise(analysed):
    text = summarise(analysed)
    assert "residual scale" in text and "(2 repeated cells, 2 degrees of freedom)" in text
    assert "mean residual at the largest budget, 3.20e11 FLOPs" in text


def test_a_law_that_is_not_determined_is_held_back(unheld):
    text = summarise(unheld)
    assert "not determined by these runs: " in text and "95% [" not in text.split("Optimal")[0].split("IsoFLOP")[0]
    assert "(surface fit)" not in text and "Not done: forecast: these runs do not determine the law" in text
    assert "by a power law without a floor" in text


def test_warnings_stand_with_their_names(analysed):
    lines = summarise(analysed).splitlines()
    assert analysed.warnings
    assert all(f"  {doubt.name}: {doubt.text}" in lines for doubt in analysed.warnings)


def test_methods_back_test_and_next_runs_are_there_when_they_were_asked_for(analysed):
    assert not any(part in summarise(analysed) for part in ("Methods side by side", "Back-test", "Next:"))
    text = summarise(complete(analysed))
    assert "  lower envelope (approach 1): a = " in text and "Back-test without the largest" in text
    assert "Next: 2 runs for" in text and "95% now" in text
