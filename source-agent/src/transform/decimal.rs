//! PostgreSQL's `numeric`: exact, of any size that it takes, with its scale, NaN and the infinities.
//!
//! Scales follow PostgreSQL's rules (`src/backend/utils/adt/numeric.c`), so that a result is the same as the server's.

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, RoundingMode, Zero as _};

/// Digits after the point (NUMERIC_DSCALE_MAX), and before it.
const SCALE_MAX: i64 = 16_383;
const DIGITS_MAX: u64 = 131_072;
/// A quotient has at least so many significant digits (NUMERIC_MIN_SIG_DIGITS) and at most so many after the point
/// (NUMERIC_MAX_DISPLAY_SCALE).
const QUOTIENT_DIGITS: i64 = 16;
const QUOTIENT_SCALE_MAX: i64 = 1000;

/// A value of `numeric`, in PostgreSQL's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Decimal {
    NegativeInfinity,
    Finite(BigDecimal),
    Infinity,
    NaN,
}

/// Why an operation has no result.
pub(super) type Fault = &'static str;

const TOO_LARGE: Fault = "the decimal is too large";

impl Decimal {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Some(match &*text.to_ascii_lowercase() {
            "nan" => Self::NaN,
            "infinity" | "inf" | "+infinity" => Self::Infinity,
            "-infinity" | "-inf" => Self::NegativeInfinity,
            lower => {
                // An exponent says how many digits there will be before any is written.
                if let Some((_, exponent)) = lower.split_once('e') {
                    let exponent: i64 = exponent.parse().ok()?;
                    if exponent.unsigned_abs() > DIGITS_MAX {
                        return None;
                    }
                }
                if !lower.bytes().any(|byte| byte.is_ascii_digit()) || lower.contains('_') {
                    return None;
                }
                let value: BigDecimal = lower.parse().ok()?;
                let value = if value.fractional_digit_count() < 0 { value.with_scale(0) } else { value };
                return Self::bounded(value).ok();
            }
        })
    }

    pub(super) fn of_int(value: i64) -> Self {
        Self::Finite(BigDecimal::from(value))
    }

    /// By its shortest text.
    pub(super) fn of_double(value: f64) -> Option<Self> {
        Self::parse(&value.to_string())
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::NaN => "NaN".to_owned(),
            Self::Infinity => "Infinity".to_owned(),
            Self::NegativeInfinity => "-Infinity".to_owned(),
            Self::Finite(value) => value.to_plain_string(),
        }
    }

    pub(super) fn to_double(&self) -> Option<f64> {
        self.text().parse().ok()
    }

    /// Towards zero.
    pub(super) fn to_int(&self) -> Option<i64> {
        match self {
            Self::Finite(value) => {
                value.with_scale_round(0, RoundingMode::Down).to_plain_string().parse().ok()
            }
            _ => None,
        }
    }

    pub(super) fn negate(&self) -> Self {
        match self {
            Self::NaN => Self::NaN,
            Self::Infinity => Self::NegativeInfinity,
            Self::NegativeInfinity => Self::Infinity,
            Self::Finite(value) => Self::Finite(-value),
        }
    }

    pub(super) fn is_negative(&self) -> bool {
        *self < Self::of_int(0)
    }

    fn is_zero(&self) -> bool {
        matches!(self, Self::Finite(value) if value.is_zero())
    }

    pub(super) fn add(&self, other: &Self) -> Result<Self, Fault> {
        match (self, other) {
            (Self::Finite(left), Self::Finite(right)) => {
                let (left, right, scale) = aligned(left, right);
                Self::bounded(BigDecimal::new(left + right, scale))
            }
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            (Self::Infinity, Self::NegativeInfinity) | (Self::NegativeInfinity, Self::Infinity) => {
                Ok(Self::NaN)
            }
            (Self::Finite(_), infinite) | (infinite, _) => Ok(infinite.clone()),
        }
    }

    pub(super) fn multiply(&self, other: &Self) -> Result<Self, Fault> {
        match (self, other) {
            (Self::Finite(left), Self::Finite(right)) => {
                // The crate's own product by one has another scale.
                let ((left, left_scale), (right, right_scale)) =
                    (left.as_bigint_and_exponent(), right.as_bigint_and_exponent());
                let product = BigDecimal::new(left * right, left_scale + right_scale);
                Self::bounded(if product.fractional_digit_count() > SCALE_MAX {
                    product.with_scale_round(SCALE_MAX, RoundingMode::HalfUp)
                } else {
                    product
                })
            }
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            _ if self.is_zero() || other.is_zero() => Ok(Self::NaN),
            _ if self.is_negative() == other.is_negative() => Ok(Self::Infinity),
            _ => Ok(Self::NegativeInfinity),
        }
    }

    pub(super) fn divide(&self, other: &Self) -> Result<Self, Fault> {
        match (self, other) {
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            _ if other.is_zero() => Err("division by zero"),
            (Self::Finite(left), Self::Finite(right)) => {
                let scale = quotient_scale(left, right);
                Self::bounded(quotient(left, right, scale))
            }
            (Self::Finite(_), _) => Ok(Self::of_int(0)),
            (_, Self::Finite(_)) if other.is_negative() => Ok(self.negate()),
            (_, Self::Finite(_)) => Ok(self.clone()),
            _ => Ok(Self::NaN),
        }
    }

    /// With the dividend's sign.
    pub(super) fn remainder(&self, other: &Self) -> Result<Self, Fault> {
        match (self, other) {
            (Self::NaN, _) | (_, Self::NaN) => Ok(Self::NaN),
            _ if other.is_zero() => Err("division by zero"),
            (Self::Finite(left), Self::Finite(right)) => {
                let (left, right, scale) = aligned(left, right);
                Ok(Self::Finite(BigDecimal::new(left % right, scale)))
            }
            (Self::Finite(_), _) => Ok(self.clone()),
            _ => Ok(Self::NaN),
        }
    }

    /// Half away from zero; digits below zero round before the point.
    pub(super) fn round(&self, digits: i64) -> Result<Self, Fault> {
        self.rescaled(digits, RoundingMode::HalfUp)
    }

    pub(super) fn floor(&self) -> Result<Self, Fault> {
        self.rescaled(0, RoundingMode::Floor)
    }

    pub(super) fn ceil(&self) -> Result<Self, Fault> {
        self.rescaled(0, RoundingMode::Ceiling)
    }

    fn rescaled(&self, digits: i64, mode: RoundingMode) -> Result<Self, Fault> {
        let Self::Finite(value) = self else { return Ok(self.clone()) };
        let digits = digits.clamp(-SCALE_MAX, SCALE_MAX);
        let rounded = value.with_scale_round(digits, mode);
        Self::bounded(if digits < 0 { rounded.with_scale(0) } else { rounded })
    }

    fn bounded(value: BigDecimal) -> Result<Self, Fault> {
        let scale = value.fractional_digit_count();
        if scale > SCALE_MAX || i64::try_from(value.digits()).unwrap_or(i64::MAX) - scale > DIGITS_MAX as i64
        {
            return Err(TOO_LARGE);
        }
        Ok(Self::Finite(value))
    }
}

/// Both as integers of the same number of digits after the point, of which neither has more.
fn aligned(left: &BigDecimal, right: &BigDecimal) -> (BigInt, BigInt, i64) {
    let scale = left.fractional_digit_count().max(right.fractional_digit_count());
    let unscaled = |value: &BigDecimal| value.with_scale(scale).into_bigint_and_scale().0;
    (unscaled(left), unscaled(right), scale)
}

/// Half away from zero.
fn quotient(left: &BigDecimal, right: &BigDecimal, scale: i64) -> BigDecimal {
    let (dividend, divisor, _) = aligned(left, right);
    let power = BigInt::from(10).pow(u32::try_from(scale).unwrap_or_default());
    let dividend = dividend * power;
    let (mut quotient, rest) = (&dividend / &divisor, &dividend % &divisor);
    let (double, against) =
        (BigInt::from(rest.magnitude().clone()) * 2, BigInt::from(divisor.magnitude().clone()));
    if double >= against {
        let away = if (dividend.sign() == Sign::Minus) == (divisor.sign() == Sign::Minus) { 1 } else { -1 };
        quotient += away;
    }
    BigDecimal::new(quotient, scale)
}

/// select_div_scale() of PostgreSQL, which counts in digits of base 10,000.
fn quotient_scale(left: &BigDecimal, right: &BigDecimal) -> i64 {
    let ((left_weight, left_first), (right_weight, right_first)) = (first_digit(left), first_digit(right));
    let mut weight = left_weight - right_weight;
    if left_first <= right_first {
        weight -= 1;
    }
    let scale = QUOTIENT_DIGITS - weight * 4;
    let scale = scale.max(left.fractional_digit_count()).max(right.fractional_digit_count());
    scale.clamp(0, QUOTIENT_SCALE_MAX)
}

/// The weight of the first digit of base 10,000 that is not zero, and the digit.
fn first_digit(value: &BigDecimal) -> (i64, i64) {
    if value.is_zero() {
        return (0, 0);
    }
    let (digits, scale) = value.as_bigint_and_exponent();
    let digits = digits.magnitude().to_string();
    // The exponent of ten of the first decimal digit.
    let exponent = i64::try_from(digits.len()).unwrap_or(i64::MAX) - 1 - scale;
    let weight = exponent.div_euclid(4);
    let count = usize::try_from(exponent.rem_euclid(4)).unwrap_or_default() + 1;
    let mut first = digits.get(..count.min(digits.len())).unwrap_or_default().to_owned();
    while first.len() < count {
        first.push('0');
    }
    (weight, first.parse().unwrap_or_default())
}

/// Equal values compare equal whatever their scale.
pub(super) fn compare(left: &Decimal, right: &Decimal) -> Ordering {
    left.cmp(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn results_have_the_scale_that_postgresql_gives_them() {
        // As PostgreSQL 15 answers.
        for (left, operator, right, result) in [
            ("1.10", '+', "2.1", "3.20"),
            ("1.10", '+', "0.000", "1.100"),
            ("0.00000000000000000000", '+', "1", "1.00000000000000000000"),
            ("1.10", '+', "-1.1", "0.00"),
            ("1.10", '*', "2.1", "2.310"),
            ("2.50", '*', "1", "2.50"),
            ("1.00", '*', "100", "100.00"),
            ("1", '*', "100", "100"),
            ("0.00", '*', "1.5", "0.000"),
            ("100", '/', "1.0", "100.0000000000000000"),
            ("0", '/', "7", "0.00000000000000000000"),
            ("7.50", '%', "1", "0.50"),
            ("1", '/', "3", "0.33333333333333333333"),
            ("10", '/', "4", "2.5000000000000000"),
            ("100000", '/', "3", "33333.333333333333"),
            ("-7", '/', "2", "-3.5000000000000000"),
            ("2", '/', "3", "0.66666666666666666667"),
            ("-7.5", '%', "2", "-1.5"),
            ("NaN", '+', "1", "NaN"),
            ("Infinity", '*', "-1", "-Infinity"),
            (
                "12345678901234567890123456789012345678.90",
                '+',
                "0.01",
                "12345678901234567890123456789012345678.91",
            ),
        ] {
            let (left, right) = (decimal(left), decimal(right));
            let found = match operator {
                '+' => left.add(&right),
                '*' => left.multiply(&right),
                '%' => left.remainder(&right),
                _ => left.divide(&right),
            };
            assert_eq!(found.unwrap().text(), result, "{left:?} {operator} {right:?}");
        }
        assert!(decimal("1").divide(&decimal("0.00")).is_err());
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (value, digits, result) in [
            ("2.5", 0, "3"),
            ("-2.5", 0, "-3"),
            ("1.005", 2, "1.01"),
            ("1.5", 3, "1.500"),
            ("1250", -2, "1300"),
            ("40", -2, "0"),
            ("0", 2, "0.00"),
            ("0.000", 1, "0.0"),
            ("-0.001", 2, "0.00"),
            ("99.995", 2, "100.00"),
        ] {
            assert_eq!(decimal(value).round(digits).unwrap().text(), result);
        }
        assert_eq!(decimal("-1.5").floor().unwrap().text(), "-2");
        assert_eq!(decimal("-1.5").ceil().unwrap().text(), "-1");
    }

    #[test]
    fn values_are_ordered_as_postgresql_orders_them() {
        let ordered = ["-Infinity", "-1", "0.5", "1", "Infinity", "NaN"].map(decimal);
        assert!(ordered.is_sorted());
        assert_eq!(compare(&decimal("1.0"), &decimal("1.00")), Ordering::Equal);
        for wrong in ["", "x", "1e999999999", "1_000", "--1", "."] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
        assert_eq!(decimal("1e3").text(), "1000");
    }
}
